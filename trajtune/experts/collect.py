"""Collect a dataset: experts, reference returns, checkpoints of the wanted quality, episodes, and the store.

Every finished piece is a file, so the same command continues where it was killed and ends with the same bits.
"""

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trajtune.data import Dataset, DatasetWriter
from trajtune.data.store import DTYPES, INDEX, METADATA
from trajtune.errors import UserError, unknown
from trajtune.experts.ladder import RANDOM_POLICY, SCRIPT_NOISE, acting_of, record_medium
from trajtune.experts.policies import random_actor
from trajtune.experts.recording import Episode, record, relabelled_return, seeds_for
from trajtune.files import claim_folder, read_arrays, read_json, remove_leftovers, write_arrays, write_json
from trajtune.processes import worker_pool
from trajtune.suites import Suite, get_suite

Experts = Literal["goal-conditioned", "per-task", "scripted"]
QUALITIES = ("expert", "medium")
MARK, PARTS = "collect.json", "parts"  # what an unfinished collection has beside the dataset's files
RANDOM, TRIAL = 90, 91  # streams of seeds beside those of the qualities
TRIALS = 3


@dataclass(frozen=True)
class CollectConfig:
    """What to collect."""

    suite: str
    tasks: tuple[int, ...]
    qualities: tuple[str, ...] = QUALITIES
    trajectories: int = 100
    experts: Experts = "goal-conditioned"
    updates: int = 0
    """Gradient steps of each SAC expert; 0 is the suite's own number."""
    seed: int = 0
    dtype: str = "float32"


Report = Callable[[str, int, int], None]
"""(what, done, total): progress of the stage ``what``."""


def collect(config: CollectConfig, folder: Path, workers: int = 1, report: Report = lambda *a: None) -> Dataset:
    """Collect ``config`` into ``folder`` and return the dataset, or the one that the same call left there."""
    for quality in config.qualities:
        if quality not in QUALITIES:
            raise unknown("quality", quality, QUALITIES)
        if config.qualities.count(quality) > 1:
            raise UserError(f"quality {quality} is named twice")
    if config.trajectories < 1:
        raise UserError(f"trajectories must be at least 1, got {config.trajectories}")
    if config.updates < 0:
        raise UserError(f"updates must be at least 1, or 0 for the suite's own number, got {config.updates}")
    if not 0 <= config.seed < 2**32:
        raise UserError(f"seed must be 0 to {2**32 - 1}, got {config.seed}")
    if config.dtype not in DTYPES:
        raise unknown("dtype", config.dtype, DTYPES)
    suite = get_suite(config.suite)
    for task in config.tasks:
        suite.task(task)  # an unknown one is an error now, not after the experts' training
    if config.experts == "scripted" and suite.scripted is None:
        raise UserError(f"suite {suite.name} has no scripted expert: choose goal-conditioned or per-task experts")
    if not config.tasks or not config.qualities:
        raise UserError("nothing to collect: name at least one task and one quality")
    if (folder / METADATA).exists():
        return _finished(folder, config)
    claim_folder(folder, MARK, _plain(config), "collection", beside=("experts",))
    ladders = _checkpoints(suite, config, folder / "experts", report)
    parts = folder / PARTS
    jobs = [(config, str(parts), task, ladders[task]) for task in config.tasks]
    with worker_pool(workers) as run:
        for done, _ in enumerate(run(_collect_task, jobs), 1):
            report("recording tasks", done, len(jobs))
    return _assemble(suite, config, folder)


def _plain(config: CollectConfig) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(config).items()}


def _command(config: CollectConfig) -> str:
    """Return the command line that makes this dataset, but for its folder."""
    words = ["trajtune", "collect", config.suite, "--experts", config.experts, "--quality", ",".join(config.qualities)]
    words += ["--tasks", ",".join(map(str, config.tasks)), "--trajectories", str(config.trajectories)]
    words += [
        "--updates",
        str(config.updates or get_suite(config.suite).expert_updates),
        "--seed",
        str(config.seed),
        "--dtype",
        config.dtype,
    ]
    return " ".join(words)


def _finished(folder: Path, config: CollectConfig) -> Dataset:
    data = Dataset.open(folder)
    found = data.metadata.get("collection", {})
    odd = sorted(key for key, value in _plain(config).items() if found.get(key) != value)
    if odd:
        raise UserError(f"{folder} already holds a dataset with another {', '.join(odd)}: choose another folder")
    _clear(folder)  # of what a run left that was killed between the metadata and its own clearing
    return data


def _clear(folder: Path) -> None:
    """Remove what only an unfinished collection needs; the mark goes last, because it says that the rest is ours."""
    if not (folder / MARK).exists():
        return
    for name in (MARK, INDEX, METADATA):
        remove_leftovers(folder / name)
    if (folder / PARTS).exists():
        for path in (folder / PARTS).iterdir():
            path.unlink()
        (folder / PARTS).rmdir()
    (folder / MARK).unlink()


def _checkpoints(suite: Suite, config: CollectConfig, folder: Path, report: Report) -> dict[int, list[str]]:
    """Train what has to be trained; return the experts' checkpoints of every task, from first to last."""
    if config.experts == "scripted":
        return {task: [RANDOM_POLICY, *(f"script:{noise}" for noise in SCRIPT_NOISE)] for task in config.tasks}
    from trajtune.experts.sac import SACConfig, train_expert

    sac = SACConfig(updates=config.updates or suite.expert_updates)
    if config.experts == "goal-conditioned":
        stage = "training the goal-conditioned expert (updates)"
        found = train_expert(
            suite, None, sac, folder / "goal-conditioned", config.seed, lambda n: report(stage, n, sac.updates)
        )
        return {task: [RANDOM_POLICY, *map(str, found)] for task in config.tasks}
    ladders = {}
    for number, task in enumerate(config.tasks, 1):
        stage = f"training expert {number} of {len(config.tasks)}, task {task} (updates)"
        goal = np.asarray([suite.task(task).goal])
        where = folder / f"task-{task:03d}"
        found = train_expert(suite, goal, sac, where, config.seed, lambda n, s=stage: report(s, n, sac.updates))  # type: ignore[misc]
        ladders[task] = [RANDOM_POLICY, *map(str, found)]
    return ladders


def _collect_task(job: tuple[CollectConfig, str, int, list[str]]) -> None:
    """Record every quality of one task, each into a file of its own."""
    config, parts, task, ladder = job
    paths = {quality: Path(parts) / f"{task:03d}-{quality}.safetensors" for quality in config.qualities}
    # The JSON is written last: without it a part is not finished.
    paths = {quality: path for quality, path in paths.items() if not path.with_suffix(".json").exists()}
    if not paths:
        return
    suite = get_suite(config.suite)
    random_return = _random_return(suite, config, task)
    # The expert acts by its mean, as it would be deployed; medium policies by sampling, as SAC does while it learns.
    seeds = seeds_for(config.seed, task, 0, config.trajectories)
    expert = record(suite, task, acting_of(suite, ladder[-1]), seeds, sampled=False)
    expert_return = float(np.mean([e.episode_return for e in expert]))
    references = {"random": random_return, "expert": expert_return}
    for quality, path in paths.items():
        chosen, episodes = Path(ladder[-1]).stem, expert
        if quality == "medium":
            trials = seeds_for(config.seed, task, TRIAL, TRIALS)
            seeds = seeds_for(config.seed, task, 1, config.trajectories)
            chosen, episodes = record_medium(suite, task, ladder, references, trials, seeds)
        _write_part(path, episodes)
        mean = float(np.mean([e.episode_return for e in episodes]))
        about = {"policy": chosen, "mean_return": mean, "references": references}
        write_json(path.with_suffix(".json"), about)


def _random_return(suite: Suite, config: CollectConfig, task: int) -> float:
    """The random policy does not see the goal: the same episodes, relabelled, serve every task."""
    return float(np.mean([relabelled_return(suite, e, task) for e in _random_episodes(config.suite, config.seed)]))


@functools.cache
def _random_episodes(suite: str, seed: int) -> list[Episode]:
    return record(get_suite(suite), 0, random_actor, seeds_for(seed, 0, RANDOM, 20))


def _write_part(path: Path, episodes: list[Episode]) -> None:
    arrays = {
        "observations": np.concatenate([e.observations for e in episodes]).astype(np.float32),
        "actions": np.concatenate([e.actions for e in episodes]).astype(np.float32),
        "rewards": np.concatenate([e.rewards for e in episodes]).astype(np.float32),
        "length": np.array([len(e.rewards) for e in episodes]),
        "final_observations": np.stack([e.final_observation for e in episodes]).astype(np.float32),
        "terminated": np.array([e.terminated for e in episodes]),
        "seed": np.array([e.seed for e in episodes]),
    }
    write_arrays(path, arrays)


def _assemble(suite: Suite, config: CollectConfig, folder: Path) -> Dataset:
    parts = folder / PARTS
    references: dict[str, dict[str, float]] = {}
    sources: dict[str, dict[str, Any]] = {}
    with DatasetWriter(folder, suite.observation_dim, suite.action_dim, config.dtype) as writer:
        for task in config.tasks:
            for number, quality in enumerate(config.qualities):
                path = parts / f"{task:03d}-{quality}.safetensors"
                part = read_arrays(path, "collected part")
                about = read_json(path.with_suffix(".json"), "collected part")
                references[str(task)] = about["references"]
                sources.setdefault(str(task), {})[quality] = {k: about[k] for k in ("policy", "mean_return")}
                ends = np.cumsum(part["length"])
                for i, (end, length) in enumerate(zip(ends, part["length"], strict=True)):
                    rows = slice(end - length, end)
                    writer.add(
                        part["observations"][rows],
                        part["actions"][rows],
                        part["rewards"][rows],
                        part["final_observations"][i],
                        task=task,
                        quality=number,
                        seed=int(part["seed"][i]),
                        terminated=bool(part["terminated"][i]),
                    )
        tasks = {str(t): {"name": suite.task(t).name, **suite.task(t).parameters} for t in config.tasks}
        dims = {"observation_dim": suite.observation_dim, "action_dim": suite.action_dim, "horizon": suite.horizon}
        data = writer.finish(
            {
                "suite": suite.name,
                **dims,
                "qualities": list(config.qualities),
                "tasks": tasks,
                "references": references,
                "sources": sources,
                "command": _command(config),
                "collection": _plain(config),
            }
        )
    _clear(folder)
    return data
