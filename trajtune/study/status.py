"""How far a study has come, from what lies in its folder: nobody who works on it is asked."""

import itertools
from dataclasses import dataclass
from pathlib import Path

from trajtune.artifacts import DELTA, STUDY
from trajtune.errors import UserError
from trajtune.leases import Holder, holder
from trajtune.study.choosing import SELECTION
from trajtune.study.driving import declared_in
from trajtune.study.jobs import LEASES
from trajtune.study.results import read_result
from trajtune.study.stored import RESULTS

PAUSE = 20
"""A gap between results of so many times the usual one is a pause."""
RECENT = 100
"""The expected end is by the pace of the last so many results."""


@dataclass(frozen=True)
class Status:
    """What became of a study's runs so far. A run is named by its place in the folder, without ``.json``."""

    runs: int
    """That it declares."""
    done: int
    """That have a result, those that diverged among them."""
    diverged: tuple[str, ...]
    failed: dict[str, str]
    """Why; the same study tries them again."""
    running: dict[str, Holder]
    others: int
    """Results of cells that the study does not declare (any more)."""
    seconds_left: float | None
    """By the pace of the last results; None where that is not known, and 0 where nothing is left."""


def status_of(folder: Path | str) -> Status:
    """Read every result and lease in a study's folder; a ``UserError`` if it is no study's or a result is damaged."""
    folder = Path(folder)
    if not (folder / STUDY.header).exists() and (choosing := sorted(folder.glob(f"{SELECTION}/*/{STUDY.header}"))):
        raise UserError(f"{folder} is choosing options first: ask for the status of {choosing[-1].parent}")
    study = declared_in(folder)
    places = [cell.place(task).with_suffix("").as_posix() for cell, task in study.runs()]
    deltas, done, diverged, failed, times = study.deltas, 0, [], {}, []
    for place in places:
        path = folder / f"{place}.json"
        if not path.exists():
            continue
        result = read_result(path)
        if result.failed is not None:
            failed[place] = result.failed
            continue
        if deltas and result.run.recipe and result.scored and not (path.with_suffix("") / DELTA.header).exists():
            continue  # it was asked for later
        done += 1
        times.append(path.stat().st_mtime)
        diverged += [place] if result.diverged is not None else []
    found = {place: holder(folder / LEASES / place) for place in places if (folder / LEASES / place).exists()}
    running = {place: who for place, who in found.items() if who is not None}
    declared = set(places)
    here = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob(RESULTS)}
    left = _seconds(times, len(places) - done)
    return Status(len(places), done, tuple(diverged), failed, running, len(here - declared), left)


def _seconds(times: list[float], left: int) -> float | None:
    """By the mean time between results, pauses left out: nobody was at work in longer gaps."""
    if left == 0:
        return 0.0
    last = sorted(time for time in times if time > 0)[-RECENT:]  # 0: it came out of a pack
    gaps = sorted(after - before for before, after in itertools.pairwise(last))
    usual = [gap for gap in gaps if gap <= PAUSE * gaps[len(gaps) // 2]]
    return left * sum(usual) / len(usual) if sum(usual) > 0 else None
