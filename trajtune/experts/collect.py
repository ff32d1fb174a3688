"""Collect a dataset: experts, reference returns, checkpoints of the wanted quality, episodes, and the store.

Every finished piece is a file, so the same command continues where it was killed and ends with the same bits.
"""

import functools
import itertools
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from trajtune import artifacts
from trajtune.data.store import DTYPES, Dataset
from trajtune.data.writer import DatasetWriter
from trajtune.errors import UserError, unknown
from trajtune.experts.config import CollectConfig
from trajtune.experts.ladder import RANDOM_POLICY, Ladder, record_medium
from trajtune.experts.parts import achieved_width, part_path, read_about, read_part, write_part
from trajtune.experts.recording import CHUNK, RANDOM_EPISODES, mean_return, random_return, record_seeds
from trajtune.experts.sources import PerTask, sources_of, updates_of
from trajtune.files import read_json, write_json
from trajtune.processes import worker_pool
from trajtune.progress import Progress, silent
from trajtune.seeds import LIMIT
from trajtune.suites import get_suite
from trajtune.suites.base import ExpertSource, Rung, Suite

QUALITIES = ("expert", "medium", "random")
PARTS, EXPERTS = "parts", "experts"  # what a collection has in its folder beside the dataset's files
TRIALS = 3


def collect(config: CollectConfig, folder: Path | str, workers: int = 1, progress: Progress = silent) -> Dataset:
    """Collect ``config`` into ``folder`` and return the dataset, or the one that the same call left there."""
    folder, suite = Path(folder), get_suite(config.suite)
    config, source = _checked(config, suite)
    run = _run(config, suite)
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


def check(config: CollectConfig) -> None:
    """Find what is wrong before anything is done: a ``UserError``, such as of a package that is not installed."""
    _checked(config, get_suite(config.suite))


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
    source, updates = sources[name], updates_of(suite, sources[name], config.updates)
    source.check(suite, config.qualities, updates)
    if config.composition not in COMPOSITIONS:
        raise unknown("composition", config.composition, COMPOSITIONS)
    if config.composition == "replay":
        if not isinstance(source, PerTask):
            raise UserError(f"experts {name} leave nothing of their training: --composition replay needs per-task")
        source = replace(source, keep_replay=True)
    return replace(config, experts=name, updates=updates), source


def _plain(config: CollectConfig) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(config).items()}


def _run(config: CollectConfig, suite: Suite) -> dict[str, Any]:
    """Return what decides the bits: the config, and the versions of what the suite gets from elsewhere."""
    return {**_plain(config), **({"versions": dict(suite.versions)} if suite.versions else {})}


def _command(config: CollectConfig) -> str:
    """Return the command line that makes this dataset, but for its folder."""
    options = {
        "experts": config.experts,
        "composition": config.composition,
        "quality": ",".join(config.qualities),
        "tasks": ",".join(map(str, config.tasks)),
        "trajectories": config.trajectories,
        "updates": config.updates,
        "seed": config.seed,
        "dtype": config.dtype,
    }
    return " ".join(["trajtune collect", config.suite, *(f"--{name} {value}" for name, value in options.items())])


def _collect_task(job: tuple[CollectConfig, str, int, list[Rung]]) -> None:
    """Record every quality of one task."""
    config, parts, task, rungs = job
    known = _known(Path(parts), task)
    if known.exists():
        return
    suite = get_suite(config.suite)
    assert config.experts is not None
    ladder = Ladder(suite, task, sources_of(suite)[config.experts], rungs)
    missing = {quality: part_path(Path(parts), task, quality) for quality in config.qualities}
    missing = {quality: path for quality, path in missing.items() if not path.exists()}
    seeds = functools.partial(record_seeds, config.seed, task)
    if "random" in missing:
        write_part(missing.pop("random"), ladder.chunks(0.0, seeds("random data", config.trajectories)), RANDOM_POLICY)
    references = {"random": random_return(suite, config.seed, task)}
    if rungs:
        COMPOSITIONS[config.composition](ladder, seeds, config.trajectories, missing, Path(parts), references)
    write_json(known, references)


Seeds = Callable[[str, int], list[int]]
"""Reset seeds of a kind of episodes of the task, so many."""


def _from_checkpoints(
    ladder: Ladder, seeds: Seeds, count: int, missing: Mapping[str, Path], parts: Path, references: dict[str, float]
) -> None:
    """The expert first: medium is found between its return and the random one's.

    The expert acts by its mean, as it would be deployed; medium policies by sampling, as SAC does as it learns.
    """
    path = part_path(parts, ladder.task, "expert")
    if not path.exists():
        best = ladder.chunks(ladder.top, seeds("expert", count), sampled=ladder.rungs[-1].sampled)
        write_part(path, best, ladder.name(ladder.top))
    references["expert"] = read_about(path)["mean_return"]
    if "medium" in missing:
        wanted = seeds("medium", count)
        place, first = record_medium(ladder, references, seeds("trial", TRIALS), wanted[:CHUNK])
        write_part(
            missing["medium"], itertools.chain([first], ladder.chunks(place, wanted[CHUNK:])), ladder.name(place)
        )


def _from_replay(
    ladder: Ladder, seeds: Seeds, count: int, missing: Mapping[str, Path], parts: Path, references: dict[str, float]
) -> None:
    """What the expert lived through as it learned. The reference is the expert that came of it, by its mean."""
    from trajtune.experts.replay import SHARES, replayed

    references["expert"] = mean_return(ladder.record(ladder.top, seeds("expert", RANDOM_EPISODES), sampled=False))
    where = Path(ladder.rungs[-1].key).parent
    for quality, path in missing.items():
        policy = f"the first {SHARES[quality]:.0%} of training {ladder.name(ladder.top)}"
        write_part(path, replayed(where, ladder.suite, ladder.task, quality, count), policy)


COMPOSITIONS = {"checkpoints": _from_checkpoints, "replay": _from_replay}


def _known(parts: Path, task: int) -> Path:
    """Where a task's reference returns are, once all of it is recorded."""
    return parts / f"{task:03d}.json"


def _assemble(suite: Suite, config: CollectConfig, folder: Path) -> Dataset:
    sources: dict[str, dict[str, Any]] = {}
    references = {str(task): read_json(_known(folder / PARTS, task), "reference returns") for task in config.tasks}
    found = {(t, q): part_path(folder / PARTS, t, q) for t in config.tasks for q in config.qualities}
    width = achieved_width(list(found.values()))
    with DatasetWriter(folder, suite.observation_dim, suite.action_dim, config.dtype, achieved_dim=width) as writer:
        for (task, quality), path in found.items():
            sources.setdefault(str(task), {})[quality] = read_about(path)
            for episode in read_part(path):
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
                "versions": dict(suite.versions),
                "observation_dim": suite.observation_dim,
                "action_dim": suite.action_dim,
                "horizon": max(suite.horizon(task) for task in config.tasks),
                "qualities": list(config.qualities),
                "tasks": {str(t): {"name": suite.task(t).name, **suite.task(t).parameters} for t in config.tasks},
                "references": references,
                "sources": sources,
                "command": _command(config),
                "run": _run(config, suite),
            }
        )
    artifacts.clear(folder, (PARTS,))
    return data
