"""Each cell's score beside zero-shot, over the tasks and seeds that both have."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
    """Mean of a run."""
    evaluate_seconds: float

    @property
    def verdict(self) -> str:
        """Better or worse than zero-shot where the interval leaves zero out."""
        if self.interval is None:
            return "diverged" if self.diverged else ""
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
    gains = [np.subtract(a, b) for r in scored if (a := _own(r)) and (b := _own(zero.get((r.task, r.seed))))]
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
        interval=stratified_interval(gains) if gains else None,  # type: ignore[arg-type]
        finetune_seconds=float(np.mean([r.finetune_seconds for r in runs])),
        evaluate_seconds=float(np.mean([r.evaluate_seconds for r in scored])) if scored else 0.0,
    )


def _own(result: Result | None) -> list[float] | None:
    return None if result is None else result.normalised_returns
