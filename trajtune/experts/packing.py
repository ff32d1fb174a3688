"""Make experts that ship of what ``train_expert`` left: ``python -m trajtune.experts.packing --help``.

Of a folder of actors it takes the last and, of the earlier ones, as few as medium data of every task need, halves their
precision, measures what is kept, and writes the asset that ``trajtune.experts.shipped`` reads in place of the old one.
What was measured is kept in a folder beside that of the actors, so that the same command goes on where it was stopped.
"""

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from tyro.conf import Positional, UseAppendAction, arg

from trajtune import artifacts
from trajtune.errors import UserError
from trajtune.experts.actors import sac_actor
from trajtune.experts.ladder import MEDIUM
from trajtune.experts.recording import mean_return, random_return, record, record_seeds
from trajtune.experts.sac import ACTORS
from trajtune.files import read_arrays, read_json, sha256, write_arrays, write_json
from trajtune.processes import count_workers, worker_pool
from trajtune.progress import Progress, silent
from trajtune.suites import get_suite

SURE = (0.36, 0.47)
"""What a few episodes must say for a rung to be surely within ``MEDIUM``."""
SURVEY, SECOND = 3, 12
"""Episodes a task of every candidate, and of every rung that was chosen."""
TEST, OTHERS = 20, 5
"""Episodes of the expert on a test task, and on the others."""


@dataclass(frozen=True)
class Pack:
    """Make experts that ship of the actors that training left in a folder."""

    folder: Positional[Path]
    """With actor-UPDATES.safetensors, as ``trajtune collect --experts goal-conditioned`` leaves it in its dataset."""
    suite: str
    out: Path
    """Folder of the asset, trajtune/assets/experts/SUITE; experts that are there are replaced."""
    commit: str
    """Commit of the code that trained the actors."""
    command: str
    """The command that trained them."""
    last: int = 0
    """Updates of the actor that is the expert; 0 is the latest there is."""
    rungs: Annotated[tuple[int, ...], arg(name="rung"), UseAppendAction] = ()
    """Updates of an earlier actor to keep, once for each; by default they are chosen."""
    most: int = 6
    """How many are chosen at most."""
    candidates: int = 32
    """How many actors are looked at, denser early on."""
    seed: int = 0
    workers: int = 0
    """Processes that measure; 0 is one a core."""


def pack(config: Pack, progress: Progress = silent) -> dict[str, Any]:
    """Make the asset and return its header."""
    suite = get_suite(config.suite)
    found = {int(path.stem.split("-")[1]): path for path in sorted(config.folder.glob(ACTORS))}
    if not found:
        raise UserError(f"{config.folder} holds no actors (actor-UPDATES.safetensors)")
    last = config.last or max(found)
    if odd := sorted({last, *config.rungs} - set(found)):
        raise UserError(f"{config.folder} holds no actor of {odd[0]} updates")
    _replaceable(config.out)
    work = config.folder.with_name(config.folder.name + "-packing")
    halves = _Halves(found, work)

    def survey(chosen: Sequence[int], episodes: int, stage: str) -> Levels:
        rows = _measure(
            config, [(halves[u], True, [episodes] * len(suite.tasks)) for u in chosen], work, stage, progress
        )
        return {u: _normalised(row, random, expert) for u, row in zip(chosen, rows, strict=True)}

    random = [random_return(suite, config.seed, task.index) for task in suite.tasks]
    counts = [TEST if task.index in suite.test else OTHERS for task in suite.tasks]
    (expert,) = _measure(config, [(halves[last], False, counts)], work, "measuring the expert", progress)
    if config.rungs:
        chosen = sorted(set(config.rungs) - {last})
    else:
        earlier = sorted(u for u in found if u < last)
        looked = _thinned(earlier, config.candidates)
        chosen = _fewest(survey(looked, SURVEY, "looking for rungs"), config.most)
    levels = survey(chosen, SECOND, "measuring rungs")
    ladders = [_ladder(levels, task.index) for task in suite.tasks]
    kept = sorted({u for ladder in ladders for u in ladder})
    tasks = [
        {
            "goal": list(task.goal),
            "rungs": [halves[u].name for u in (*ladders[task.index], last)],
            "levels": [round(levels[u][task.index], 3) for u in ladders[task.index]],
            "random": round(random[task.index], 2),
            "expert": round(expert[task.index], 2),
            "episodes": counts[task.index],
        }
        for task in suite.tasks
    ]
    about = {
        "suite": suite.name,
        "commit": config.commit,
        "command": config.command,
        "training": _training(config.folder),
        "updates": {halves[u].name: u for u in (*kept, last)},
        "measured": f"expert: mean action, so many episodes; levels: sampled actions, {SECOND} episodes, 0 is random "
        "and 1 the expert; random: uniform actions",
        "means": {split: float(np.mean([expert[t] for t in getattr(suite, split)])) for split in ("train", "test")},
        "tasks": tasks,
    }
    return _replace(config.out, [halves[u] for u in (*kept, last)], about)


Levels = dict[int, list[float]]
"""{updates: normalised return of every task}"""


class _Halves:
    """The actors in half precision, made as they are asked for: what is measured is what ships."""

    def __init__(self, found: Mapping[int, Path], folder: Path) -> None:
        self._found, self._folder = found, folder

    def __getitem__(self, updates: int) -> Path:
        path = self._folder / self._found[updates].name
        with np.errstate(over="ignore"):
            arrays = {n: a.astype(np.float16) for n, a in read_arrays(self._found[updates], "expert").items()}
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise UserError(f"{self._found[updates]} has weights that are not finite in half precision")
        write_arrays(path, arrays)
        return path


def _measure(
    config: Pack, wanted: Sequence[tuple[Path, bool, list[int]]], work: Path, stage: str, progress: Progress
) -> list[list[float]]:
    """Return the mean returns of every task for each (actor, sampled, episodes a task); but for those known."""
    known = read_json(work / "measured.json", "packing") if (work / "measured.json").exists() else {}
    keys = [artifacts.signature([config.suite, config.seed, sha256(p), s, n]) for p, s, n in wanted]
    missing = [i for i, key in enumerate(keys) if key not in known]
    jobs = [(config.suite, config.seed, *wanted[i]) for i in missing]
    with worker_pool(min(count_workers(config.workers), max(len(jobs), 1))) as each:
        for done, (i, row) in enumerate(zip(missing, each(_returns, jobs), strict=True), 1):
            known[keys[i]] = row
            write_json(work / "measured.json", known)
            progress(stage, done, len(jobs))
    return [known[key] for key in keys]


def _returns(job: tuple[str, int, Path, bool, list[int]]) -> list[float]:
    name, seed, path, sampled, counts = job
    suite = get_suite(name)
    return [
        mean_return(record(suite, t, sac_actor(path, suite.task(t).goal), record_seeds(seed, t, "packing", n), sampled))
        for t, n in enumerate(counts)
    ]


def _normalised(row: Sequence[float], random: Sequence[float], expert: Sequence[float]) -> list[float]:
    if weak := [t for t, (low, high) in enumerate(zip(random, expert, strict=True)) if high <= low]:
        raise UserError(f"task {weak[0]}: the last actor is no better than random: train it longer")
    return [(x - low) / (high - low) for x, low, high in zip(row, random, expert, strict=True)]


def _thinned(updates: list[int], count: int) -> list[int]:
    places = np.geomspace(1, max(len(updates), 1), count).round().astype(int) - 1
    return [updates[i] for i in sorted(set(places.tolist()))] if updates else []


def _fewest(levels: Levels, most: int) -> list[int]:
    """Choose rungs one after another, each for the most tasks that have none of medium quality yet."""
    serves = {u: {t for t, x in enumerate(row) if SURE[0] <= x <= SURE[1]} for u, row in levels.items()}
    chosen: list[int] = []
    served: set[int] = set()
    while len(chosen) < most and (best := max(serves, key=lambda u: len(serves[u] - served), default=None)) is not None:
        if not serves[best] - served:
            break
        chosen.append(best)
        served |= serves[best]
    return sorted(chosen)


def _ladder(levels: Levels, task: int) -> list[int]:
    """Return the rung surely of medium quality nearest to its middle, or those (one may be missing) on either side."""
    known = {u: row[task] for u, row in levels.items()}
    middle = sum(MEDIUM) / 2
    inside = [u for u, x in known.items() if SURE[0] <= x <= SURE[1]]
    if inside:
        return [min(inside, key=lambda u: abs(known[u] - middle))]
    below = [u for u, x in known.items() if 0.0 < x <= middle]
    above = [u for u, x in known.items() if middle < x < 1.0]
    nearest = [max(below, key=known.__getitem__, default=None), min(above, key=known.__getitem__, default=None)]
    return [u for u in nearest if u is not None]


def _training(folder: Path) -> dict[str, Any]:
    """Return what the folder says of the run that trained its actors, finished or not."""
    if (folder / artifacts.EXPERT.header).exists():
        said = read_json(folder / artifacts.EXPERT.header, "expert")
    elif (folder / artifacts.MARK).exists():
        said = read_json(folder / artifacts.MARK, "expert")
    else:
        return {}
    run: dict[str, Any] = said.get("run", said)
    return run


def _replaceable(out: Path) -> None:
    """Refuse a folder with anything else than an expert in it."""
    if out.is_dir() and (
        odd := [p for p in out.iterdir() if p.name != artifacts.EXPERT.header and not p.match(ACTORS)]
    ):
        raise UserError(f"{out} holds {odd[0].name}, which is no part of an expert: choose another folder")


def _replace(out: Path, actors: Sequence[Path], about: Mapping[str, Any]) -> dict[str, Any]:
    """Write the asset; the header goes first and comes last, so that a folder with a header is whole."""
    (out / artifacts.EXPERT.header).unlink(missing_ok=True)
    for path in out.glob(ACTORS):
        path.unlink()
    out.mkdir(parents=True, exist_ok=True)
    for path in actors:
        shutil.copyfile(path, out / path.name)
    return artifacts.finish(out, artifacts.EXPERT, about, [path.name for path in actors])


def main() -> None:
    """Pack what the command line says."""
    import tyro

    config = tyro.cli(Pack)
    try:
        header = pack(
            config, lambda stage, done, total, *_: print(stage, done, "of", total, file=sys.stderr, flush=True)
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    means = ", ".join(f"{split} {mean:.1f}" for split, mean in header["means"].items())
    print(f"{config.out}: {len(header['updates'])} actors; mean return of the expert: {means}")


if __name__ == "__main__":
    main()
