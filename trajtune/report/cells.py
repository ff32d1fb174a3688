"""Each cell's score beside a baseline, over the tasks and seeds that both have."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from trajtune.data.setting import Setting
from trajtune.errors import unknown
from trajtune.report.aggregates import improvement
from trajtune.report.index import Place, places
from trajtune.report.scores import Unit, differences, of_point, runs_of, selection_effect
from trajtune.report.uncertainty import CONFIDENCE, Over, effect_size, holm, mean_of
from trajtune.study.cell import ZERO_SHOT
from trajtune.study.results import Result


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
    """Mean over tasks of the mean over seeds."""
    gain: float | None
    """Score minus the baseline's, episode by episode: same task, seed, prompts and episode seeds."""
    interval: tuple[float, float] | None
    """95% interval of the gain, for this comparison alone."""
    p: float | None
    """Of no gain, corrected for all cells of the comparison (Holm)."""
    over: Over
    """What interval and p-value speak of: other tasks, other seeds of these tasks, or other episodes of these runs."""
    effect: float | None
    """Gain over the deviation of gains between runs (Cohen's d_z)."""
    improved: float | None
    """Share of episodes that are better than the baseline's; equal ones count half."""
    selected: float | None
    """By how much the best point of the curve lies above its end: what reporting the best would add."""
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
        """Better or worse than the baseline where that is told apart from chance, all comparisons counted."""
        if self.diverged or self.failed:  # what is left is no fair sample
            return "diverged" if self.diverged else "failed"
        if self.p is None or self.gain is None:
            return ""
        return "same" if self.p > 1 - CONFIDENCE else "better" if self.gain > 0 else "worse"


@dataclass(frozen=True)
class Comparison:
    """The cells of one suite and data setting, in the order of the study."""

    suite: str
    group: str
    """The suite, or the study's own name for an agent and data of it."""
    setting: Setting
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


def summarise(results: Sequence[Result], baseline: str = ZERO_SHOT) -> list[Comparison]:
    """Group results by suite and setting and compare with zero-shot, or with an algorithm under the same tuning.

    Everything stays in the order of the results.
    """
    names = list(dict.fromkeys(r.run.algorithm for r in results))
    if baseline not in (ZERO_SHOT, *names):
        raise unknown("baseline", baseline, names)
    return [_compare(place, baseline) for place in places(results)]


def _compare(place: Place, baseline: str) -> Comparison:
    zeros = {cell: _summary(runs, cell[1], [], place.unit) for cell, runs in place.zeros.items()}
    tuned = [_summary(runs, cell[1], place.base(cell, baseline), place.unit) for cell, runs in place.tuned.items()]
    corrected = holm([each.p for each in tuned])
    return Comparison(
        place.results[0].run.suite,
        place.group,
        place.setting,
        baseline,
        place.unit,
        place.tasks,
        zero_shot=None if place.zero is None else zeros[place.zero],
        zero_shots=tuple(zeros.values()),
        cells=tuple(replace(each, p=p) for each, p in zip(tuned, corrected, strict=True)),
    )


def _summary(runs: Sequence[Result], label: str, base: Sequence[Result], unit: Unit) -> CellSummary:
    scored, ended = [r for r in runs if r.scored], [r for r in runs if r.failed is None]
    scores, gains = runs_of(scored, unit), differences(scored, base, unit)
    gain = mean_of([gains])
    return CellSummary(
        algorithm=runs[0].run.algorithm,
        tuning=runs[0].run.tuning,
        label=label,
        runs=len(scored),
        diverged=sum(r.diverged is not None for r in runs),
        failed=sum(r.failed is not None for r in runs),
        mean_return=mean_of([runs_of(scored, "return")]).mean if scored else None,
        score=mean_of([scores]).mean if scored else None,
        gain=gain.mean if gains else None,
        interval=gain.interval if gains else None,
        p=gain.p if gains else None,
        over=gain.over if gains else "nothing",
        effect=effect_size(gains),
        improved=improvement(gains).mean if gains else None,
        selected=selection_effect(scored, unit),
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
    first, last = of_point(result.curve[0], unit), of_point(result.curve[-1], unit)
    return None if first is None or last is None else last - first


def _forgotten(result: Result) -> float | None:
    """Mean loss over the tasks of pretraining, in normalised returns if all of them have references."""
    each = [(r.normalised_before, r.normalised_after) for r in result.forgetting]
    if any(before is None or after is None for before, after in each):
        return _mean(r.before - r.after for r in result.forgetting)
    return _mean(before - after for before, after in each)  # type: ignore[operator]
