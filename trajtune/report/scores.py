"""What results say in one unit, and pairs of them: the same task, seed, prompts and episodes under two recipes."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Literal

import numpy as np

from trajtune.errors import UserError
from trajtune.files import differing
from trajtune.report.uncertainty import Array, Place, Runs, mean_of
from trajtune.study.results import Point, Result

Unit = Literal["normalised", "success", "return"]


def common_unit(results: Iterable[Result]) -> Unit:
    """Return what every one of these results can be told in: the suite's own metric, if it is success."""
    scored = [r for r in results if r.scored]
    if scored and all(r.metric == "success" and r.successes is not None for r in scored):
        return "success"
    return "normalised" if all(r.normalised is not None for r in scored) else "return"


def episodes(result: Result, unit: Unit) -> Array:
    """Return every episode's score [E]."""
    values = {"success": result.successes, "normalised": result.normalised_returns, "return": result.returns}[unit]
    return np.asarray(values, np.float64)


def of_point(point: Point, unit: Unit) -> float | None:
    """Return the mean score of a point of a curve."""
    return {"success": point.success, "normalised": point.normalised, "return": point.mean_return}[unit]


def place(result: Result) -> Place:
    """Return task and seed."""
    return result.run.task, result.run.seed


def runs_of(results: Iterable[Result], unit: Unit) -> Runs:
    """Return every scored run's episodes."""
    return {place(r): episodes(r, unit) for r in results if r.scored}


def differences(results: Iterable[Result], base: Iterable[Result], unit: Unit) -> Runs:
    """Return, for every task and seed that both have, each episode's score minus the baseline's."""
    others = {place(r): r for r in base if r.scored}
    return {place(r): _difference(r, others[place(r)], unit) for r in results if r.scored and place(r) in others}


def _difference(result: Result, base: Result, unit: Unit) -> Array:
    """They must be of the same agent, data and episodes to be pairs."""
    wanted, found = result.run, base.run
    odd = [name for name in ("agent", "data") if getattr(wanted, name) != getattr(found, name)]
    if wanted.evaluation != found.evaluation:
        odd += differing(*(asdict(replace(r.evaluation, points=0, curve_episodes=0)) for r in (found, wanted)))
    if odd or len(result.returns) != len(base.returns):
        cell = f"{wanted.algorithm} x {wanted.tuning} on task {wanted.task} of {result.group}"
        raise UserError(f"{cell} is of another {', '.join(odd) or 'number of episodes'} than its {found.algorithm}")
    return episodes(result, unit) - episodes(base, unit)


def selection_effect(results: Sequence[Result], unit: Unit) -> float | None:
    """Return by how much the best point of a curve lies above its last, over the same episodes, on average.

    It is what reporting the best checkpoint adds, chosen on the very episodes that it is judged by. Every task counts
    the same.
    """
    found = {}
    for result in results:
        points = [value for point in result.curve if (value := of_point(point, unit)) is not None]
        if result.scored and len(points) == len(result.curve) > 1:
            found[place(result)] = np.array([max(points) - points[-1]])
    return mean_of([found]).mean if found else None
