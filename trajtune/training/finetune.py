"""Finetune an agent on a few recorded trajectories of one task."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from trajtune.agents import SavedAgent
from trajtune.algorithms import Shape, make_algorithm, resolve_algorithm
from trajtune.data import REWARDS, Dataset, TaskPrompts, Trajectories, make_prompts
from trajtune.errors import UserError, unknown
from trajtune.policy import Plain, Policy
from trajtune.training.checkpoint import claimed
from trajtune.training.loop import Log, TrainConfig, clear_checkpoint, train
from trajtune.tunings import STD, TUNINGS, make_policy, resolve_tuning
from trajtune.tunings.saving import META, load_delta, read_delta_metadata, save_delta
from trajtune.types import Batch


@dataclass(frozen=True)
class FewShot:
    """The trajectories of one task that finetuning may use, and the prompts drawn from them."""

    suite: str
    task: int
    trajectories: Trajectories
    prompts: TaskPrompts
    source: dict[str, Any] = field(default_factory=dict)
    """Where they come from: dataset, quality, count, seed."""

    @classmethod
    def of(
        cls,
        trajectories: Trajectories,
        suite: str,
        task: int,
        prompt_length: int,
        references: dict[str, float] | None = None,
        seed: int = 0,
        source: dict[str, Any] | None = None,
        reward: str = "dense",
    ) -> Self:
        """Make a few-shot set of trajectories in memory; ``prompt_length`` is the agent's, ``seed`` draws prompts.

        ``reward`` is how finetuning sees the rewards: as they are, or ``sparse``, the return at the last step.
        """
        if reward not in REWARDS:
            raise unknown("reward", reward, REWARDS)
        trajectories = REWARDS[reward].transform(trajectories)
        prompts = make_prompts(trajectories, prompt_length, references or {}, seed, REWARDS[reward].delayed)
        return cls(suite, task, trajectories, prompts, {**(source or {}), "reward": reward})


@dataclass(frozen=True)
class Finetuned:
    """A tuned policy, the log of its training, and what saving it needs."""

    policy: Policy
    prompts: dict[int, TaskPrompts]
    log: Log
    metadata: dict[str, Any]

    def save(self, folder: Path | str) -> None:
        """Write the delta: only what moved, with its base's digest and the prompts to act under.

        The folder must be new or empty.
        """
        path = Path(folder)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UserError(f"{path} already holds something else: choose another folder")
        save_delta(path, self.policy, self.prompts, self.metadata)

    def plain(self) -> Plain:
        return self.policy.plain()


def few_shot(
    dataset: Dataset,
    task: int,
    quality: str | None,
    count: int,
    seed: int,
    prompt_length: int,
    reward: str = "dense",
) -> FewShot:
    """Take ``count`` trajectories of a task, drawn by ``seed``, into memory, with rewards dense or sparse."""
    selected = dataset.select([task], quality, count, seed)
    try:
        trajectories = selected.loaded()
    except UserError as error:  # a number that is not finite
        raise UserError(f"{dataset.path} is damaged: {error}") from None
    source = {"data": dataset.path.name, "quality": quality, "trajectories": count, "data_seed": seed}
    references = dataset.references(task)
    return FewShot.of(trajectories, dataset.suite, task, prompt_length, references, seed, source, reward)


def finetune(
    base: SavedAgent,
    data: FewShot,
    algorithm: str = "qp-sft",
    tuning: str = "adapter",
    config: TrainConfig | None = None,
    *,
    algorithm_options: Mapping[str, Any] | None = None,
    tuning_options: Mapping[str, Any] | None = None,
    std: float = STD,
    folder: Path | str | None = None,
    device: torch.device | str = "cpu",
    on_step: Callable[[int, Policy, dict[str, float]], None] = lambda step, policy, metrics: None,
) -> Finetuned:
    """Finetune with a fresh optimiser and fresh critics; with a ``folder``, resumable and saved there.

    ``on_step(step, policy, metrics)`` is called after every step; the policy may be evaluated there.
    """
    _check(base, data)
    folder = None if folder is None else Path(folder)
    size, config = base.agent.config, resolve_training(config or TrainConfig(), tuning)
    metadata = {
        "base": base.digest,
        "suite": data.suite,
        "task": data.task,
        "algorithm": algorithm,
        "algorithm_options": resolve_algorithm(algorithm, algorithm_options),
        "tuning": tuning,
        "tuning_options": resolve_tuning(tuning, tuning_options),
        "std": std,
        "seed": config.seed,
        "training": asdict(config),
        **data.source,
        "data_digest": data.trajectories.digest(),
    }
    prompts = {data.task: data.prompts}
    if folder is not None and (folder / META).exists():
        return _finished(folder, base, metadata)
    algo = make_algorithm(algorithm, algorithm_options)
    first = data.prompts.prompts[:1]
    policy = make_policy(tuning, base.agent, first, tuning_options, std=std, seed=config.seed).to(device)
    try:
        algo.setup(policy, data.trajectories, config.seed)
    except ValueError as error:  # PyTorch's optimisers check their own options
        raise UserError(f"algorithm {algorithm} does not take these options: {error}") from error
    shape = Shape(config.batch, size.window, size.prompt)

    def draw(rng: np.random.Generator) -> Batch:
        return algo.draw(data.trajectories, rng, shape)

    with claimed(folder, metadata):
        log = train(
            policy,
            algo,
            draw,
            config,
            run=metadata,
            folder=folder,
            on_step=lambda step, metrics: on_step(step, policy, metrics),
        )
    done = Finetuned(policy, prompts, log, {**metadata, "log": log})
    if folder is not None:
        save_delta(folder, policy, prompts, done.metadata)
        clear_checkpoint(folder)
    return done


def resolve_training(config: TrainConfig, tuning: str) -> TrainConfig:
    """Return the config with the tuning's own learning rate where none was chosen."""
    if config.learning_rate is not None or tuning not in TUNINGS:
        return config
    return replace(config, learning_rate=TUNINGS[tuning].policy.learning_rate)


def _check(base: SavedAgent, data: FewShot) -> None:
    agent, found = base.agent.config, data.trajectories
    dims = found.observations.shape[1], found.actions.shape[1]
    if dims != (agent.observation_dim, agent.action_dim):
        raise UserError(
            f"the data has {dims[0]} observations and {dims[1]} actions, "
            f"the agent {agent.observation_dim} and {agent.action_dim}"
        )
    if found.length.max() > agent.max_timesteps:
        raise UserError(f"a trajectory has {found.length.max()} steps, the agent knows {agent.max_timesteps}")
    suite = base.provenance.get("suite")
    if suite is not None and suite != data.suite:
        raise UserError(f"the agent was pretrained on suite {suite}, the data is of {data.suite}")


def _finished(folder: Path, base: SavedAgent, metadata: dict[str, Any]) -> Finetuned:
    """Return what an earlier, identical call left in the folder."""
    meta = read_delta_metadata(folder)
    odd = sorted(key for key, value in metadata.items() if meta.get(key) != value)
    if odd:
        raise UserError(f"{folder} already holds a delta with another {', '.join(odd)}: choose another folder")
    saved, log = load_delta(folder, base), meta.get("log")
    if not isinstance(log, list) or not log or not all(isinstance(entry, dict) for entry in log):
        raise UserError(f"{folder / META} is damaged: it has no log of the training")
    clear_checkpoint(folder)  # of a run that was killed between saving and clearing
    return Finetuned(saved.policy, saved.prompts, log, meta)
