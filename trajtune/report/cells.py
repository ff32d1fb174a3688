"""Each cell's score beside a baseline, over the tasks and seeds that both have."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trajtune.errors import UserError, unknown
from trajtune.statistics import Interval, stratified_interval
from trajtune.study.results import ZERO_SHOT, Result


@dataclass(frozen=True)
class CellSummary:
    """One algorithm x tuning in one suite and data setting, over tasks and seeds."""

    algorithm: str
    tuning: str
    label: str
    runs: int
    """Tasks times seeds that have a final score."""
    diverged: int
    mean_return: float | None
    normalised: float | None
    gain: float | None
    """Normalised return minus the baseline's, episode by episode: same task, seed, prompts and episode seeds."""
    interval: Interval | None
    """95% bootstrap interval of the gain, episodes resampled within each run: it speaks of these tasks and seeds."""
    finetune_seconds: float
    """Median of the runs: a worker's first run also loads libraries."""
    evaluate_seconds: float

    @property
    def verdict(self) -> str:
        """Better or worse than the baseline where the interval leaves zero out."""
        if self.diverged:  # what is left is no fair sample
            return "diverged"
        if self.interval is None:
            return ""
        return "better" if self.interval[0] > 0 else "worse" if self.interval[1] < 0 else "same"


@dataclass(frozen=True)
class Comparison:
    """The cells of one suite and data setting, in the order of the study."""

    suite: str
    quality: str
    trajectories: int
    reward: str
    baseline: str
    """Zero-shot, or an algorithm: each cell is compared with that algorithm under the same tuning."""
    tasks: tuple[str, ...]
    zero_shot: CellSummary | None
    cells: tuple[CellSummary, ...]

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Algorithm and label of every row of a matrix of the cells."""
        return list(dict.fromkeys((cell.algorithm, cell.label) for cell in self.cells))

    @property
    def tunings(self) -> list[str]:
        """Its columns."""
        return list(dict.fromkeys(cell.tuning for cell in self.cells))

    @property
    def matrix(self) -> list[list[CellSummary | None]]:
        """The cells, rows by tunings; None where the study has none."""
        found = {(cell.algorithm, cell.label, cell.tuning): cell for cell in self.cells}
        return [[found.get((*row, tuning)) for tuning in self.tunings] for row in self.rows]


def summarise(results: Sequence[Result], baseline: str = ZERO_SHOT) -> list[Comparison]:
    """Group results by suite and setting and compare with zero-shot, or with an algorithm under the same tuning.

    Everything stays in the order of the results.
    """
    names = list(dict.fromkeys(r.algorithm for r in results))
    if baseline not in (ZERO_SHOT, *names):
        raise unknown("baseline", baseline, names)
    settings = dict.fromkeys((r.suite, r.quality, r.trajectories, r.reward) for r in results)
    return [_compare(key, results, baseline) for key in settings]


def _compare(key: tuple[str, str, int, str], results: Sequence[Result], baseline: str) -> Comparison:
    chosen = [r for r in results if (r.suite, r.quality, r.trajectories, r.reward) == key]
    cells: dict[tuple[str, str, str], list[Result]] = {}
    for result in chosen:
        cells.setdefault((result.algorithm, result.label, result.tuning), []).append(result)
    zero = next((runs for (algorithm, *_), runs in cells.items() if algorithm == ZERO_SHOT), [])
    tasks = {r.task: r.name for r in chosen}

    def bases(cell: tuple[str, str, str]) -> dict[tuple[int, int], Result]:
        algorithm, _, tuning = cell
        runs = zero if baseline == ZERO_SHOT else cells.get((baseline, "", tuning), [])
        return {} if algorithm == baseline else {(r.task, r.seed): r for r in runs}

    return Comparison(
        *key,
        baseline=baseline,
        tasks=tuple(tasks[t] for t in sorted(tasks)),
        zero_shot=_summary(zero, {}) if zero else None,
        cells=tuple(_summary(runs, bases(cell)) for cell, runs in cells.items() if cell[0] != ZERO_SHOT),
    )


def _summary(runs: Sequence[Result], base: dict[tuple[int, int], Result]) -> CellSummary:
    scored = [r for r in runs if r.diverged is None]
    gains = [gain for r in scored if (gain := _gain(r, base.get((r.task, r.seed)))) is not None]
    enough = bool(gains) and min(map(len, gains)) > 1  # of one episode, nothing is known about its spread
    normalised = [r.normalised for r in scored if r.normalised is not None]
    returns = [r.mean_return for r in scored if r.mean_return is not None]
    return CellSummary(
        algorithm=runs[0].algorithm,
        tuning=runs[0].tuning,
        label=runs[0].label,
        runs=len(scored),
        diverged=len(runs) - len(scored),
        mean_return=float(np.mean(returns)) if returns else None,
        normalised=float(np.mean(normalised)) if normalised else None,
        gain=float(np.mean([g.mean() for g in gains])) if gains else None,
        interval=stratified_interval(gains) if enough else None,  # type: ignore[arg-type]
        finetune_seconds=float(np.median([r.finetune_seconds for r in runs])),
        evaluate_seconds=float(np.median([r.evaluate_seconds for r in scored])) if scored else 0.0,
    )


SHARED = ("agent", "data", "episodes", "precision")
"""What two runs must have in common for their episodes to be pairs."""


def _gain(result: Result, base: Result | None) -> npt.NDArray[np.float64] | None:
    """Every episode's normalised return minus the baseline's; None where either is not known."""
    if base is None or base.normalised_returns is None or result.normalised_returns is None:
        return None
    odd = [name for name in SHARED if result.run.get(name) != base.run.get(name)]
    if odd or len(result.returns) != len(base.returns):
        cell = f"{result.algorithm} x {result.tuning} on task {result.task} of {result.suite}"
        raise UserError(f"{cell} is of another {', '.join(odd) or 'number of episodes'} than its {base.algorithm}")
    return np.subtract(result.normalised_returns, base.normalised_returns)
