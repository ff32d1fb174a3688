"""Pretrain an agent on many tasks: SFT x full with random prompts of the same task, in the same loop as finetuning."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trajtune.agents.base import Agent
from trajtune.agents.saving import SavedAgent, initialise, load_agent, save_agent
from trajtune.algorithms.base import make_algorithm
from trajtune.artifacts import AGENT, claimed, clear, finished
from trajtune.compute.precision import resolved
from trajtune.data.fewshot import Brief, make_brief
from trajtune.data.sampling import draw_batch
from trajtune.data.store import Dataset
from trajtune.data.trajectories import Trajectories
from trajtune.errors import UserError
from trajtune.progress import Progress, silent
from trajtune.training.checkpoint import CHECKPOINT
from trajtune.training.config import PretrainConfig
from trajtune.training.loop import Sync, train
from trajtune.tunings.making import make_policy
from trajtune.types import Batch


def pretrain(
    dataset: Dataset,
    tasks: list[int],
    horizon: int,
    config: PretrainConfig,
    folder: Path | str,
    *,
    device: torch.device | str = "cpu",
    processes: int = 1,
    progress: Progress = silent,
) -> SavedAgent:
    """Pretrain on ``tasks`` (a suite's training tasks) and save the agent in ``folder``; resumable.

    ``horizon`` is the longest episode it is to know. The normaliser is fitted on these tasks alone (FACTS section 4).
    The saved agent carries briefs of every task that the dataset holds, so that it can be evaluated on test tasks
    without the dataset. In a process group (``torchrun`` starts one anywhere, ``accelerate launch`` on GPUs only),
    every process draws its share of each batch and gradients are averaged.
    """
    folder, data, training = Path(folder), dataset.select(tasks, config.quality), config.training
    if data.length.max() > horizon:
        raise UserError(f"{dataset.path} has a trajectory of {data.length.max()} steps, its suite has {horizon}")
    training = replace(training, precision=resolved(training.precision, torch.device(device)))
    dims = {name: int(dataset.metadata[name]) for name in ("observation_dim", "action_dim")}
    agent = initialise(config.agent, {**dims, "max_timesteps": horizon, **config.options}, training.seed)
    run = {
        "suite": dataset.suite,
        "tasks": tasks,
        "pretraining": {**asdict(config), "training": asdict(training)},
        "processes": processes,
        "data": dataset.identity(),
    }
    if finished(folder, AGENT, run) is not None:
        saved = load_agent(folder)
        clear(folder, [CHECKPOINT])  # of a run that was killed between saving and clearing
        return saved
    try:
        _fit_normaliser(agent, data)
    except UserError as error:  # a number that is not finite
        raise UserError(f"{dataset.path} is damaged: {error}") from None
    sync, share = None, training.batch
    if processes > 1:
        sync, device = _process_group(processes, device)
        share = -(-share // processes)
    briefs = _briefs(dataset, config, agent.spec.prompt)  # now: it fails early if it fails
    policy = make_policy("full", agent, None, std=1.0).to(device)
    spec = agent.spec

    def draw(rng: np.random.Generator) -> Batch:
        return draw_batch(data, rng, share, spec.window, spec.prompt, spec.max_timesteps)

    def on_step(step: int, metrics: dict[str, float]) -> None:
        progress("pretraining (updates)", step, training.steps, metrics)

    writes = sync is None or sync.rank == 0
    with claimed(folder if writes else None, AGENT, run, [CHECKPOINT]):
        log = train(
            policy,
            make_algorithm("sft"),
            draw,
            replace(training, batch=share),
            run=run,
            folder=folder,
            dropout=True,
            sync=sync,
            on_step=on_step,
        )
    trained = policy.merged()
    assert trained is not None
    trained = trained.cpu()
    if not writes:
        return SavedAgent.of(trained, dataset.suite)
    command = _command(dataset, config, tasks, processes)
    made = {"run": run, "log": log, "command": command, "data_command": dataset.metadata.get("command")}
    save_agent(folder, trained, dataset.suite, briefs, made, config.dtype)
    clear(folder, [CHECKPOINT])
    return load_agent(folder)


def _command(dataset: Dataset, config: PretrainConfig, tasks: list[int], processes: int) -> str:
    """Return the command line that makes this agent, but for its folder."""
    words = ["trajtune", "pretrain", "--data", dataset.path.name, "--tasks", ",".join(map(str, tasks))]
    words += ["--agent", config.agent, "--quality", config.quality]
    words += ["--dtype", config.dtype]
    words += [f"--set {name}={value}" for name, value in config.options.items()]
    for name in asdict(config.training):
        words += [f"--{name.replace('_', '-')}", str(getattr(config.training, name))]
    return " ".join([*words, "--processes", str(processes)])


def _fit_normaliser(agent: Agent, data: Trajectories) -> None:
    """Mean and deviation of the observations, and the largest |return|, read in blocks of trajectories."""
    count, total, squares = 0, 0.0, 0.0
    for rows in np.array_split(np.arange(len(data)), max(1, len(data) // 100)):
        block = data.subset(rows).loaded().observations.astype(np.float64)
        count, total, squares = count + len(block), total + block.sum(0), squares + np.square(block).sum(0)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - np.square(mean), 0.0))
    agent.observation_mean.copy_(torch.as_tensor(mean))
    agent.observation_std.copy_(torch.as_tensor(np.where(std < 1e-6, 1.0, std)))
    agent.return_scale.fill_(float(np.abs(data.returns).max()) or 1.0)


def _briefs(dataset: Dataset, config: PretrainConfig, length: int) -> Mapping[int, Brief]:
    """Briefs of every task in the dataset, test tasks too: what zero-shot evaluation needs."""
    tasks = sorted(set(dataset.select(None, config.quality).task.tolist()))
    seed = config.training.seed
    return {
        task: make_brief(dataset.select([task], config.quality).loaded(), length, dataset.references(task), seed)
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
