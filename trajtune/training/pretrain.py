"""Pretrain an agent on many tasks: SFT x full with random prompts of the same task, in the same loop as finetuning."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trajtune.agents import AgentConfig, SavedAgent, initialise, load_agent, save_agent
from trajtune.agents.saving import CONFIG
from trajtune.algorithms import Shape, make_algorithm
from trajtune.data import Dataset, TaskPrompts, Trajectories, draw_batch, make_prompts, save_prompts
from trajtune.errors import UserError
from trajtune.files import read_json
from trajtune.training.checkpoint import claimed
from trajtune.training.loop import Sync, TrainConfig, clear_checkpoint, train
from trajtune.tunings import make_policy
from trajtune.types import Batch


@dataclass(frozen=True)
class PretrainConfig:
    """What an agent is pretrained on, and how."""

    layers: int = 3
    width: int = 128
    heads: int = 1
    window: int = 20
    prompt: int = 5
    dropout: float = 0.1
    quality: str = "medium"
    """An agent with room to improve is the paper's situation (FACTS section 3)."""
    training: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            steps=2000, learning_rate=3e-4, warmup=200, schedule="cosine", checkpoint_every=500, log_every=50
        )
    )


def pretrain(
    dataset: Dataset,
    tasks: list[int],
    horizon: int,
    config: PretrainConfig,
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    processes: int = 1,
    on_step: Callable[[int, dict[str, float]], None] = lambda step, metrics: None,
) -> SavedAgent:
    """Pretrain on ``tasks`` (a suite's training tasks) and save the agent in ``folder``; resumable.

    The normaliser is fitted on these tasks alone (FACTS section 4). The saved agent carries prompts of every task
    that the dataset holds, so that it can be evaluated on test tasks without the dataset. In a process group
    (``torchrun`` starts one anywhere, ``accelerate launch`` on GPUs only), every process draws its share of each batch
    and gradients are averaged.
    """
    data = dataset.select(tasks, config.quality)
    if data.length.max() > horizon:
        raise UserError(f"{dataset.path} has a trajectory of {data.length.max()} steps, its suite has {horizon}")
    size = AgentConfig(
        observation_dim=dataset.metadata["observation_dim"],
        action_dim=dataset.metadata["action_dim"],
        layers=config.layers,
        width=config.width,
        heads=config.heads,
        window=config.window,
        prompt=config.prompt,
        max_timesteps=horizon,
        dropout=config.dropout,
    )
    provenance = {
        "suite": dataset.suite,
        "data": dataset.path.name,
        "quality": config.quality,
        "tasks": tasks,
        "training": asdict(config.training),
        "processes": processes,
        "data_command": dataset.metadata.get("command"),
        "data_sha256": dataset.metadata["files"]["observations.npy"]["sha256"],
    }
    run = {"agent": asdict(size), **provenance}
    if (folder / CONFIG).exists():
        return _finished(folder, run)
    agent = initialise(size, config.training.seed)
    try:
        _fit_normaliser(agent, data)
    except UserError as error:  # a number that is not finite
        raise UserError(f"{dataset.path} is damaged: {error}") from None
    sync, share = None, config.training.batch
    if processes > 1:
        sync, device = _process_group(processes, device)
        share = -(-share // processes)
    bank = _prompt_bank(dataset, config, size.prompt)  # now: it fails early if it fails
    policy = make_policy("full", agent, next(iter(bank.values())).prompts[:1]).to(device)
    shape = Shape(share, size.window, size.prompt)

    def draw(rng: np.random.Generator) -> Batch:
        return draw_batch(data, rng, shape.batch, shape.window, shape.prompt)

    writes = sync is None or sync.rank == 0
    with claimed(folder if writes else None, run):
        log = train(
            policy,
            make_algorithm("sft"),
            draw,
            replace(config.training, batch=share),
            run=run,
            folder=folder,
            dropout=config.dropout > 0,
            sync=sync,
            on_step=on_step,
        )
    trained = policy.plain().agent.cpu()
    if writes:
        save_prompts(folder, bank)
        save_agent(folder, trained, {**provenance, "command": _command(dataset, config, tasks, processes), "log": log})
        clear_checkpoint(folder)
    return SavedAgent(trained, provenance, "") if sync is not None and sync.rank else load_agent(folder)


def _command(dataset: Dataset, config: PretrainConfig, tasks: list[int], processes: int) -> str:
    """Return the command line that makes this agent, but for its folder."""
    words = ["trajtune", "pretrain", "--data", dataset.path.name, "--tasks", ",".join(map(str, tasks))]
    for name in ("layers", "width", "heads", "window", "prompt", "dropout", "quality"):
        words += [f"--{name}", str(getattr(config, name))]
    for name in ("steps", "batch", "learning_rate", "precision", "seed"):
        words += [f"--{name.replace('_', '-')}", str(getattr(config.training, name))]
    return " ".join([*words, "--processes", str(processes)])


def _finished(folder: Path, run: dict[str, Any]) -> SavedAgent:
    """Return what an earlier, identical call left in the folder."""
    meta = read_json(folder / CONFIG, "agent")
    found = {"agent": meta.get("config"), **meta.get("provenance", {})}
    odd = sorted(key for key, value in run.items() if found.get(key) != value)
    if odd:
        raise UserError(f"{folder} already holds an agent with another {', '.join(odd)}: choose another folder")
    saved = load_agent(folder)
    clear_checkpoint(folder)  # of a run that was killed between saving and clearing
    return saved


def _fit_normaliser(agent: torch.nn.Module, data: Trajectories) -> None:
    """Mean and deviation of the observations, and the largest |return|, read in blocks of trajectories."""
    count, total, squares = 0, 0.0, 0.0
    for rows in np.array_split(np.arange(len(data)), max(1, len(data) // 100)):
        block = data.subset(rows).loaded().observations.astype(np.float64)
        count, total, squares = count + len(block), total + block.sum(0), squares + np.square(block).sum(0)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - np.square(mean), 0.0))
    agent.observation_mean.copy_(torch.as_tensor(mean))  # type: ignore[operator]
    agent.observation_std.copy_(torch.as_tensor(np.where(std < 1e-6, 1.0, std)))  # type: ignore[operator]
    agent.return_scale.fill_(float(np.abs(data.returns).max()) or 1.0)  # type: ignore[operator]


def _prompt_bank(dataset: Dataset, config: PretrainConfig, length: int) -> dict[int, TaskPrompts]:
    """Prompts of every task in the dataset, test tasks too: what zero-shot evaluation needs."""
    tasks = sorted(set(dataset.select(None, config.quality).task.tolist()))
    seed = config.training.seed
    return {
        task: make_prompts(dataset.select([task], config.quality).loaded(), length, dataset.references(task), seed)
        for task in tasks
    }


def _process_group(processes: int, device: torch.device | str) -> tuple[Sync, torch.device]:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=torch.device(device).type == "cpu")
    if accelerator.num_processes != processes:
        raise UserError(f"{processes} processes asked for, {accelerator.num_processes} are running")

    def average(gradients: list[Tensor]) -> None:
        flat = torch.cat([g.flatten() for g in gradients])
        flat = accelerator.reduce(flat, "mean")
        parts = flat.split([g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    return Sync(accelerator.process_index, average), accelerator.device
