"""Each cell's score beside a baseline, over the tasks and seeds that both have."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from trajtune.data.setting import Setting
from trajtune.errors import UserError, unknown
from trajtune.files import differing
from trajtune.statistics import Interval, stratified_interval
from trajtune.study.cell import ZERO_SHOT
from trajtune.study.results import Result

Unit = Literal["normalised", "success", "return"]


@dataclass(frozen=True)
class CellSummary:
    """One algorithm x tuning in one suite and data setting, over tasks and seeds; scores in the comparison's unit."""

    algorithm: str
    tuning: str
    label: str
    runs: int
    """Tasks times seeds that have a final score."""
    diverged: int
    failed: int
    mean_return: float | None
    score: float | None
    gain: float | None
    """Score minus the baseline's, episode by episode: same task, seed, prompts and episode seeds."""
    interval: Interval | None
    """95% bootstrap interval of the gain, episodes resampled within each run: it speaks of these tasks and seeds."""
    finetune_seconds: float
    """Median of the runs: a worker's first run also loads libraries."""
    evaluate_seconds: float

    @property
    def verdict(self) -> str:
        """Better or worse than the baseline where the interval leaves zero out."""
        if self.diverged or self.failed:  # what is left is no fair sample
            return "diverged" if self.diverged else "failed"
        if self.interval is None:
            return ""
        return "better" if self.interval[0] > 0 else "worse" if self.interval[1] < 0 else "same"


@dataclass(frozen=True)
class Comparison:
    """The cells of one suite and data setting, in the order of the study."""

    suite: str
    quality: str | None
    trajectories: int
    reward: str
    baseline: str
    """Zero-shot, or an algorithm: each cell is compared with that algorithm under the same tuning."""
    unit: Unit
    """What scores are in: normalised returns, success, or raw returns where the references are not known."""
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
    names = list(dict.fromkeys(r.run.algorithm for r in results))
    if baseline not in (ZERO_SHOT, *names):
        raise unknown("baseline", baseline, names)
    settings = dict.fromkeys((r.run.suite, r.run.setting) for r in results)
    return [_compare(suite, setting, results, baseline) for suite, setting in settings]


def _compare(suite: str, setting: Setting, results: Sequence[Result], baseline: str) -> Comparison:
    chosen = [r for r in results if (r.run.suite, r.run.setting) == (suite, setting)]
    cells: dict[tuple[str, str, str], list[Result]] = {}
    for result in chosen:
        cells.setdefault((result.run.algorithm, result.label, result.run.tuning), []).append(result)
    zero = next((runs for (algorithm, *_), runs in cells.items() if algorithm == ZERO_SHOT), [])
    tasks = {r.run.task: r.name for r in chosen}
    unit = _unit([r for r in chosen if r.scored])

    def bases(cell: tuple[str, str, str]) -> dict[tuple[int, int], Result]:
        algorithm, _, tuning = cell
        runs = zero if baseline == ZERO_SHOT else cells.get((baseline, "", tuning), [])
        return {} if algorithm == baseline else {(r.run.task, r.run.seed): r for r in runs if r.scored}

    return Comparison(
        suite,
        setting.quality,
        setting.trajectories,
        setting.reward,
        baseline,
        unit,
        tasks=tuple(tasks[t] for t in sorted(tasks)),
        zero_shot=_summary(zero, {}, unit) if zero else None,
        cells=tuple(_summary(runs, bases(cell), unit) for cell, runs in cells.items() if cell[0] != ZERO_SHOT),
    )


def _unit(scored: Sequence[Result]) -> Unit:
    """What every one of these results can be told in: the suite's own metric, if it is success."""
    if scored and all(r.metric == "success" and r.successes is not None for r in scored):
        return "success"
    return "normalised" if all(r.normalised is not None for r in scored) else "return"


def _scores(result: Result, unit: Unit) -> npt.NDArray[np.float64]:
    """Every episode's score."""
    values = {"success": result.successes, "normalised": result.normalised_returns, "return": result.returns}[unit]
    return np.asarray(values, np.float64)


def _summary(runs: Sequence[Result], base: dict[tuple[int, int], Result], unit: Unit) -> CellSummary:
    scored, ended = [r for r in runs if r.scored], [r for r in runs if r.failed is None]
    gains = [_gain(r, base[r.run.task, r.run.seed], unit) for r in scored if (r.run.task, r.run.seed) in base]
    enough = bool(gains) and min(map(len, gains)) > 1  # of one episode, nothing is known about its spread
    returns = [r.mean_return for r in scored if r.mean_return is not None]
    return CellSummary(
        algorithm=runs[0].run.algorithm,
        tuning=runs[0].run.tuning,
        label=runs[0].label,
        runs=len(scored),
        diverged=sum(r.diverged is not None for r in runs),
        failed=sum(r.failed is not None for r in runs),
        mean_return=float(np.mean(returns)) if returns else None,
        score=float(np.mean([_scores(r, unit).mean() for r in scored])) if scored else None,
        gain=float(np.mean([g.mean() for g in gains])) if gains else None,
        interval=stratified_interval(gains) if enough else None,  # type: ignore[arg-type]
        finetune_seconds=float(np.median([r.finetune_seconds for r in ended])) if ended else 0.0,
        evaluate_seconds=float(np.median([r.evaluate_seconds for r in scored])) if scored else 0.0,
    )


def _gain(result: Result, base: Result, unit: Unit) -> npt.NDArray[np.float64]:
    """Every episode's score minus the baseline's: they must be of the same agent, data and episodes to be pairs."""
    wanted, found = result.run, base.run
    odd = [name for name in ("agent", "data") if getattr(wanted, name) != getattr(found, name)]
    odd += differing(*(asdict(replace(r.evaluation, points=0, curve_episodes=0)) for r in (found, wanted)))
    if odd or len(result.returns) != len(base.returns):
        cell = f"{wanted.algorithm} x {wanted.tuning} on task {wanted.task} of {wanted.suite}"
        raise UserError(f"{cell} is of another {', '.join(odd) or 'number of episodes'} than its {found.algorithm}")
    return _scores(result, unit) - _scores(base, unit)
