"""Each cell's score beside a baseline, over the tasks and seeds that both have."""

from collections.abc import Iterable, Sequence
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
    moved: float | None
    """Score at the end of training minus that at its start, over a curve's episodes. A tuned prompt starts from one
    prompt and not from the task's: for it, this is the gain over zero-shot under the same one."""
    forgotten: float | None
    """Loss on tasks of pretraining, normalised where the references are known; None where it was not asked for."""
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
    group: str
    """The suite, or the study's own name for an agent and data of it."""
    quality: str | None
    trajectories: int
    reward: str
    target: str | float
    """What the agent was asked for, see ``Setting``."""
    baseline: str
    """Zero-shot, or an algorithm: each cell is compared with that algorithm under the same tuning."""
    unit: Unit
    """What scores are in: normalised returns, success, or raw returns where the references are not known."""
    tasks: tuple[str, ...]
    zero_shot: CellSummary | None
    """The better of ``zero_shots``, which the others are compared with."""
    zero_shots: tuple[CellSummary, ...]
    """Asked for the best return of the few-shot set, for its mean, and for what the setting says; so labelled."""
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
    settings = dict.fromkeys((r.group, r.run.setting) for r in results if r.run.recipe is not None)
    covered = {(group, _same_data(setting)) for group, setting in settings}
    for r in results:  # of an unfinished study, some have zero-shot alone
        if (place := (r.group, _same_data(r.run.setting))) not in covered:
            settings[place] = None
    return [_compare(group, setting, results, baseline) for group, setting in settings]


def _same_data(setting: Setting) -> Setting:
    """The setting but for what the agent is asked for: zero-shot is shown beside all that have the same data."""
    return replace(setting, target="best")


def _compare(group: str, setting: Setting, results: Sequence[Result], baseline: str) -> Comparison:
    own = [r for r in results if r.group == group and _same_data(r.run.setting) == _same_data(setting)]
    chosen = [r for r in own if r.run.recipe is None or r.run.setting == setting]
    cells: dict[tuple[str, str, str], list[Result]] = {}
    for result in chosen:
        label = result.label if result.run.recipe is not None else str(result.run.setting.target)
        cells.setdefault((result.run.algorithm, label, result.run.tuning), []).append(result)
    tasks = {r.run.task: r.name for r in chosen}
    unit = _unit([r for r in chosen if r.scored])
    zeros = [(_summary(runs, label, {}, unit), runs) for (name, label, _), runs in cells.items() if name == ZERO_SHOT]
    better, zero = max(zeros, key=lambda each: _standing(each[0]), default=(None, []))

    def bases(cell: tuple[str, str, str]) -> dict[tuple[int, int], Result]:
        algorithm, _, tuning = cell
        runs = zero if baseline == ZERO_SHOT else cells.get((baseline, "", tuning), [])
        return {} if algorithm == baseline else {(r.run.task, r.run.seed): r for r in runs if r.scored}

    return Comparison(
        own[0].run.suite,
        group,
        setting.quality,
        setting.trajectories,
        setting.reward,
        setting.target,
        baseline,
        unit,
        tasks=tuple(tasks[t] for t in sorted(tasks)),
        zero_shot=better,
        zero_shots=tuple(summary for summary, _ in zeros),
        cells=tuple(_summary(runs, cell[1], bases(cell), unit) for cell, runs in cells.items() if cell[0] != ZERO_SHOT),
    )


def _standing(zero: CellSummary) -> tuple[int, float]:
    """How zero-shots are compared: over as many runs as there are, then by score, the first of equals."""
    return zero.runs, -np.inf if zero.score is None else zero.score


def _unit(scored: Sequence[Result]) -> Unit:
    """What every one of these results can be told in: the suite's own metric, if it is success."""
    if scored and all(r.metric == "success" and r.successes is not None for r in scored):
        return "success"
    return "normalised" if all(r.normalised is not None for r in scored) else "return"


def _scores(result: Result, unit: Unit) -> npt.NDArray[np.float64]:
    """Every episode's score."""
    values = {"success": result.successes, "normalised": result.normalised_returns, "return": result.returns}[unit]
    return np.asarray(values, np.float64)


def _summary(runs: Sequence[Result], label: str, base: dict[tuple[int, int], Result], unit: Unit) -> CellSummary:
    scored, ended = [r for r in runs if r.scored], [r for r in runs if r.failed is None]
    gains = [_gain(r, base[r.run.task, r.run.seed], unit) for r in scored if (r.run.task, r.run.seed) in base]
    enough = bool(gains) and min(map(len, gains)) > 1  # of one episode, nothing is known about its spread
    returns = [r.mean_return for r in scored if r.mean_return is not None]
    return CellSummary(
        algorithm=runs[0].run.algorithm,
        tuning=runs[0].run.tuning,
        label=label,
        runs=len(scored),
        diverged=sum(r.diverged is not None for r in runs),
        failed=sum(r.failed is not None for r in runs),
        mean_return=float(np.mean(returns)) if returns else None,
        score=float(np.mean([_scores(r, unit).mean() for r in scored])) if scored else None,
        gain=float(np.mean([g.mean() for g in gains])) if gains else None,
        interval=stratified_interval(gains) if enough else None,  # type: ignore[arg-type]
        moved=_mean(_moved(r, unit) for r in scored),
        forgotten=_mean(_forgotten(r) for r in scored),
        finetune_seconds=float(np.median([r.finetune_seconds for r in ended])) if ended else 0.0,
        evaluate_seconds=float(np.median([r.evaluate_seconds for r in scored])) if scored else 0.0,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _moved(result: Result, unit: Unit) -> float | None:
    """From the first point of the curve to its last."""
    if result.run.recipe is None or not result.curve:
        return None
    first, last = (
        {"success": p.success, "normalised": p.normalised, "return": p.mean_return}[unit]
        for p in (result.curve[0], result.curve[-1])
    )
    return None if first is None or last is None else last - first


def _forgotten(result: Result) -> float | None:
    """Mean loss over the tasks of pretraining, in normalised returns if all of them have references."""
    each = [(r.normalised_before, r.normalised_after) for r in result.forgetting]
    if any(before is None or after is None for before, after in each):
        return _mean(r.before - r.after for r in result.forgetting)
    return _mean(before - after for before, after in each)  # type: ignore[operator]


def _gain(result: Result, base: Result, unit: Unit) -> npt.NDArray[np.float64]:
    """Every episode's score minus the baseline's: they must be of the same agent, data and episodes to be pairs."""
    wanted, found = result.run, base.run
    odd = [name for name in ("agent", "data") if getattr(wanted, name) != getattr(found, name)]
    odd += differing(*(asdict(replace(r.evaluation, points=0, curve_episodes=0)) for r in (found, wanted)))
    if odd or len(result.returns) != len(base.returns):
        cell = f"{wanted.algorithm} x {wanted.tuning} on task {wanted.task} of {result.group}"
        raise UserError(f"{cell} is of another {', '.join(odd) or 'number of episodes'} than its {found.algorithm}")
    return _scores(result, unit) - _scores(base, unit)
