"""Each cell's score beside zero-shot, over the tasks and seeds that both have."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trajtune.errors import UserError
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
    """Normalised return minus zero-shot's, episode by episode: same task, seed, prompts and episode seeds."""
    interval: Interval | None
    """95% bootstrap interval of the gain, episodes resampled within each run: it speaks of these tasks and seeds."""
    finetune_seconds: float
    """Median of the runs: a worker's first run also loads libraries."""
    evaluate_seconds: float

    @property
    def verdict(self) -> str:
        """Better or worse than zero-shot where the interval leaves zero out."""
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
    tasks: tuple[str, ...]
    zero_shot: CellSummary | None
    cells: tuple[CellSummary, ...]


def summarise(results: Sequence[Result]) -> list[Comparison]:
    """Group results by suite and setting; everything stays in the order of the results."""
    settings = dict.fromkeys((r.suite, r.quality, r.trajectories, r.reward) for r in results)
    return [_compare(key, results) for key in settings]


def _compare(key: tuple[str, str, int, str], results: Sequence[Result]) -> Comparison:
    chosen = [r for r in results if (r.suite, r.quality, r.trajectories, r.reward) == key]
    zero = {(r.task, r.seed): r for r in chosen if r.algorithm == ZERO_SHOT}
    cells: dict[tuple[str, str, str], list[Result]] = {}
    for result in chosen:
        if result.algorithm != ZERO_SHOT:
            cells.setdefault((result.algorithm, result.label, result.tuning), []).append(result)
    tasks = {r.task: r.name for r in chosen}
    return Comparison(
        *key,
        tasks=tuple(tasks[t] for t in sorted(tasks)),
        zero_shot=_summary(list(zero.values()), {}) if zero else None,
        cells=tuple(_summary(runs, zero) for runs in cells.values()),
    )


def _summary(runs: Sequence[Result], zero: dict[tuple[int, int], Result]) -> CellSummary:
    scored = [r for r in runs if r.diverged is None]
    gains = [gain for r in scored if (gain := _gain(r, zero.get((r.task, r.seed)))) is not None]
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


def _gain(result: Result, zero: Result | None) -> npt.NDArray[np.float64] | None:
    """Every episode's normalised return minus zero-shot's; None where either is not known."""
    if zero is None or zero.normalised_returns is None or result.normalised_returns is None:
        return None
    odd = [name for name, value in zero.run.items() if result.run.get(name) != value]
    if odd or len(result.returns) != len(zero.returns):
        cell = f"{result.algorithm} x {result.tuning} on task {result.task} of {result.suite}"
        raise UserError(f"{cell} is of another {', '.join(odd) or 'number of episodes'} than its zero-shot")
    return np.subtract(result.normalised_returns, zero.normalised_returns)
