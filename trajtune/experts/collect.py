"""Collect a dataset: experts, reference returns, checkpoints of the wanted quality, episodes, and the store.

Every finished piece is a file, so the same command continues where it was killed and ends with the same bits.
"""

import functools
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from trajtune import artifacts
from trajtune.data.store import DTYPES, Dataset
from trajtune.data.writer import DatasetWriter
from trajtune.errors import UserError, unknown
from trajtune.experts.ladder import RANDOM_POLICY, Ladder, record_medium
from trajtune.experts.parts import achieved_width, part_is_finished, part_path, read_about, read_episodes, write_part
from trajtune.experts.recording import Episode, mean_return, random_return, record_seeds
from trajtune.experts.sources import sources_of, updates_of
from trajtune.processes import worker_pool
from trajtune.progress import Progress, silent
from trajtune.seeds import LIMIT
from trajtune.suites import get_suite
from trajtune.suites.base import ExpertSource, Rung, Suite

QUALITIES = ("expert", "medium", "random")
PARTS, EXPERTS = "parts", "experts"  # what a collection has in its folder beside the dataset's files
TRIALS = 3


@dataclass(frozen=True)
class CollectConfig:
    """What to collect."""

    suite: str
    tasks: tuple[int, ...]
    qualities: tuple[str, ...] = ("expert", "medium")
    trajectories: int = 100
    experts: str | None = None
    """One of the suite's sources (``trajtune.experts.sources``); None is the first of them: what is ready at once."""
    updates: int = 0
    """Gradient steps of each expert that is trained; 0 is the suite's own number."""
    seed: int = 0
    dtype: str = "float32"


def collect(config: CollectConfig, folder: Path, workers: int = 1, progress: Progress = silent) -> Dataset:
    """Collect ``config`` into ``folder`` and return the dataset, or the one that the same call left there."""
    suite = get_suite(config.suite)
    config, source = _checked(config, suite)
    run = _plain(config)
    if artifacts.finished(folder, artifacts.DATASET, run) is not None:
        artifacts.clear(folder, (PARTS,))  # of what a run left that was killed before it had cleared up
        return Dataset.open(folder, verify=False)
    artifacts.claim(folder, artifacts.DATASET, run, beside=(EXPERTS,))
    assert config.experts is not None
    where = folder / EXPERTS / config.experts
    ladders = source.ladders(suite, config.tasks, where, config.updates, config.seed, progress)
    jobs = [(config, str(folder / PARTS), task, ladders[task]) for task in config.tasks]
    with worker_pool(workers) as each:
        for done, _ in enumerate(each(_collect_task, jobs), 1):
            progress("recording tasks", done, len(jobs))
    return _assemble(suite, config, folder)


def _checked(config: CollectConfig, suite: Suite) -> tuple[CollectConfig, ExpertSource]:
    """Find what is wrong before anything is written; return the config with nothing left open, and the source."""
    for quality in config.qualities:
        if quality not in QUALITIES:
            raise unknown("quality", quality, QUALITIES)
        if config.qualities.count(quality) > 1:
            raise UserError(f"quality {quality} is named twice")
    if config.trajectories < 1:
        raise UserError(f"trajectories must be at least 1, got {config.trajectories}")
    if config.updates < 0:
        raise UserError(f"updates must be at least 1, or 0 for the suite's own number, got {config.updates}")
    if not 0 <= config.seed < LIMIT:
        raise UserError(f"seed must be 0 to {LIMIT - 1}, got {config.seed}")
    if config.dtype not in DTYPES:
        raise unknown("dtype", config.dtype, DTYPES)
    for task in config.tasks:
        suite.task(task)
    if not config.tasks or not config.qualities:
        raise UserError("nothing to collect: name at least one task and one quality")
    sources = sources_of(suite)
    name = next(iter(sources)) if config.experts is None else config.experts
    if name not in sources:
        raise unknown("source of experts", name, sources)
    updates = updates_of(suite, sources[name], config.updates)
    sources[name].check(suite, config.qualities, updates)
    return replace(config, experts=name, updates=updates), sources[name]


def _plain(config: CollectConfig) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(config).items()}


def _command(config: CollectConfig) -> str:
    """Return the command line that makes this dataset, but for its folder."""
    options = {
        "experts": config.experts,
        "quality": ",".join(config.qualities),
        "tasks": ",".join(map(str, config.tasks)),
        "trajectories": config.trajectories,
        "updates": config.updates,
        "seed": config.seed,
        "dtype": config.dtype,
    }
    return " ".join(["trajtune collect", config.suite, *(f"--{name} {value}" for name, value in options.items())])


def _collect_task(job: tuple[CollectConfig, str, int, list[Rung]]) -> None:
    """Record every quality of one task, each into a file of its own."""
    config, parts, task, rungs = job
    paths = {quality: part_path(Path(parts), task, quality) for quality in config.qualities}
    paths = {quality: path for quality, path in paths.items() if not part_is_finished(path)}
    if not paths:
        return
    suite = get_suite(config.suite)
    assert config.experts is not None
    ladder = Ladder(suite, task, sources_of(suite)[config.experts], rungs)
    seeds = functools.partial(record_seeds, config.seed, task)
    references = {"random": random_return(suite, config.seed, task)}
    expert: list[Episode] = []
    if rungs:
        # The expert acts by its mean, as it would be deployed; medium policies by sampling, as SAC does as it learns.
        expert = ladder.record(ladder.top, seeds("expert", config.trajectories), sampled=rungs[-1].sampled)
        references["expert"] = mean_return(expert)
    for quality, path in paths.items():
        if quality == "random":
            policy, episodes = RANDOM_POLICY, ladder.record(0.0, seeds("random data", config.trajectories))
        elif quality == "expert":
            policy, episodes = ladder.name(ladder.top), expert
        else:
            trials = seeds("trial", TRIALS)
            policy, episodes = record_medium(ladder, references, trials, seeds("medium", config.trajectories))
        write_part(path, episodes, policy, references)


def _assemble(suite: Suite, config: CollectConfig, folder: Path) -> Dataset:
    references: dict[str, dict[str, float]] = {}
    sources: dict[str, dict[str, Any]] = {}
    found = {(t, q): part_path(folder / PARTS, t, q) for t in config.tasks for q in config.qualities}
    width = achieved_width(list(found.values()))
    with DatasetWriter(folder, suite.observation_dim, suite.action_dim, config.dtype, achieved_dim=width) as writer:
        for (task, quality), path in found.items():
            source, references[str(task)] = read_about(path)
            sources.setdefault(str(task), {})[quality] = source
            for episode in read_episodes(path):
                writer.add(
                    episode["observations"],
                    episode["actions"],
                    episode["rewards"],
                    episode["final_observations"],
                    task=task,
                    quality=config.qualities.index(quality),
                    seed=int(episode["seed"]),
                    terminated=bool(episode["terminated"]),
                    achieved=episode["achieved"] if width else None,
                )
        data = writer.finish(
            {
                "suite": suite.name,
                "observation_dim": suite.observation_dim,
                "action_dim": suite.action_dim,
                "horizon": max(suite.horizon(task) for task in config.tasks),
                "qualities": list(config.qualities),
                "tasks": {str(t): {"name": suite.task(t).name, **suite.task(t).parameters} for t in config.tasks},
                "references": references,
                "sources": sources,
                "command": _command(config),
                "run": _plain(config),
            }
        )
    artifacts.clear(folder, (PARTS,))
    return data
