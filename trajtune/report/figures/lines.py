"""Figures 2, 3, 5 and 7 and learning curves: scores along the number of trajectories, size, alpha, and updates."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trajtune.report.figures.qualities import columns_of, known
from trajtune.report.figures.style import (
    LABELS,
    asked_alike,
    legend,
    line,
    looks,
    new_figure,
    over_tunings,
    ticks,
    words,
)
from trajtune.report.index import Place, in_order
from trajtune.report.scores import Unit, of_point, runs_of
from trajtune.report.uncertainty import Estimate, mean_of
from trajtune.report.uncertainty import Place as Spot
from trajtune.report.wording import algorithm_name, cell_name, comparison_title, setting_words
from trajtune.study.results import Result

Points = list[tuple[float, Estimate]]


def figure2(places: Sequence[Place]) -> Any | None:
    """By the number of trajectories, dense reward."""
    return _by_number(places, "dense")


def figure3(places: Sequence[Place]) -> Any | None:
    """By the number of trajectories, sparse reward."""
    return _by_number(places, "sparse")


def _by_number(places: Sequence[Place], reward: str) -> Any | None:
    counts: dict[str, set[int]] = {}
    alike = asked_alike(places)
    for place in alike:
        if place.setting.reward == reward:
            counts.setdefault(str(place.setting.quality), set()).add(place.setting.trajectories)
    varied = [quality for quality, numbers in counts.items() if len(numbers) > 1]
    own = [p for p in alike if p.setting.reward == reward and str(p.setting.quality) in varied]
    if not own:
        return None
    qualities, groups = in_order(str(p.setting.quality) for p in own), in_order(p.group for p in own)
    figure, axes = new_figure(len(qualities), len(groups))
    columns = columns_of(own)
    look = looks(algorithm_name(c) for c in columns)
    for i, quality in enumerate(qualities):
        for j, group in enumerate(groups):
            here = [p for p in own if (str(p.setting.quality), p.group) == (quality, group)]
            for column in columns:
                found = [(p.setting.trajectories, known(over_tunings(p, column, p.unit))) for p in here]
                _line(axes[i][j], found, algorithm_name(column), look)
            _label(axes[i][j], f"{group}, {quality}", "trajectories", here)
            ticks(axes[i][j], (p.setting.trajectories for p in here))
    figure.suptitle(f"By number of trajectories, {reward} reward (mean over tunings, 95%)", fontsize=9)
    legend(figure, axes)
    return figure


def _line(axis: Any, found: Sequence[tuple[float, Estimate | None]], name: str, look: Any) -> None:
    there: Points = sorted(((x, v) for x, v in found if v is not None), key=lambda pair: pair[0])
    if there:
        line(axis, [x for x, _ in there], [v for _, v in there], name, look[name])


def _label(axis: Any, title: str, below: str, places: Sequence[Place]) -> None:
    axis.set_title(words(title), fontsize=8)
    axis.set_xlabel(below, fontsize=8)
    if places:
        axis.set_ylabel(LABELS[places[0].unit], fontsize=8)


def figure5(places: Sequence[Place]) -> Any | None:
    """By the size of the agent, for the first suite that a study has several of: a panel a setting, a line a cell."""
    for suite in in_order(p.results[0].run.suite for p in places):
        own = [p for p in places if p.tuned and p.results[0].run.suite == suite]
        groups = in_order(p.group for p in own)
        if len(groups) > 1:
            return _by_size(own, groups)
    return None


def _by_size(own: Sequence[Place], groups: Sequence[str]) -> Any:
    sizes = {p.group: _size(p) or 0 for p in own}
    counted = len(set(sizes.values()) - {0}) == len(groups)  # else they stand in the order of the study
    settings = list(dict.fromkeys(p.setting for p in own))
    cells = list(dict.fromkeys(cell for p in own for cell in p.tuned))
    look = looks(cell_name(cell) for cell in cells)
    figure, axes = new_figure(1, len(settings))
    for axis, setting in zip(axes[0], settings, strict=True):
        here = [p for p in own if p.setting == setting]
        for cell in cells:
            x = [sizes[p.group] / 1e6 if counted else float(groups.index(p.group)) for p in here]
            values = [known(runs_of(p.cells.get(cell, []), p.unit)) for p in here]
            _line(axis, list(zip(x, values, strict=True)), cell_name(cell), look)
        _label(axis, setting_words(setting), "agent, millions of numbers" if counted else "agent", here)
        if counted:
            ticks(axis, (round(size / 1e6, 2) for size in sizes.values()))
        else:
            axis.set_xticks(range(len(groups)), [words(g) for g in groups], rotation=35, ha="right")
    figure.suptitle(f"{words(own[0].results[0].run.suite)} by agent (95% intervals)", fontsize=9)
    legend(figure, axes)
    return figure


def _size(place: Place) -> int | None:
    return next((r.agent_size for r in place.results if r.agent_size), None)


def figure7(places: Sequence[Place]) -> Any | None:
    """By alpha: a panel a suite, a line an algorithm and quality; averaged over tunings."""
    found: dict[str, dict[str, list[tuple[float, Estimate | None]]]] = {}
    of: dict[str, list[Place]] = {}
    for place in (p for p in asked_alike(places) if p.setting.reward == "dense"):
        for column in columns_of([place]):
            alphas = {_alpha(r) for cell, runs in place.tuned.items() if cell[:2] == column for r in runs}
            if len(alphas) == 1 and (alpha := alphas.pop()) is not None:
                name = f"{column[0]}, {setting_words(place.setting)}"
                runs = known(over_tunings(place, column, place.unit))
                found.setdefault(place.group, {}).setdefault(name, []).append((alpha, runs))
                of.setdefault(place.group, []).append(place)
    found = {
        group: varied
        for group, lines in found.items()
        if (varied := {name: points for name, points in lines.items() if len({x for x, _ in points}) > 1})
    }
    if not found:
        return None
    figure, axes = new_figure(1, len(found))
    look = looks(in_order(name for lines in found.values() for name in lines))
    for axis, (group, lines) in zip(axes[0], found.items(), strict=True):
        for name, points in lines.items():
            _line(axis, points, name, look)
        ticks(axis, (x for points in lines.values() for x, _ in points))
        _label(axis, group, "alpha", of[group])
    figure.suptitle("By alpha (mean over tunings, 95%)", fontsize=9)
    legend(figure, axes)
    return figure


def _alpha(result: Result) -> float | None:
    """An option of that name, whatever it weighs: a line comes of it where a study varies it."""
    recipe = result.run.recipe
    alpha = None if recipe is None else recipe.options.get("alpha")
    return float(alpha) if isinstance(alpha, int | float) and alpha > 0 else None


def curves(places: Sequence[Place]) -> Any | None:
    """Scores along training: a line of panels a suite and setting, a panel a tuning, a line an algorithm."""
    own = [p for p in places if any(len(r.curve) > 1 for runs in p.tuned.values() for r in runs)]
    if not own:
        return None
    tunings, columns = in_order(cell[2] for p in own for cell in p.tuned), columns_of(own)
    look = looks(algorithm_name(c) for c in columns)
    figure, axes = new_figure(len(own), len(tunings), 2.8, 2.0, shared=True)
    for i, place in enumerate(own):
        for j, tuning in enumerate(tunings):
            for column in columns:
                points = curve(place.cells.get((*column, tuning), []), place.unit)
                _line(axes[i][j], points, algorithm_name(column), look)
            title = f"{comparison_title(place)}\n{tuning}"
            _label(axes[i][j], title, "updates", [place])
            axes[i][j].label_outer()
    legend(figure, axes)
    return figure


def curve(results: Sequence[Result], unit: Unit) -> Points:
    """Return the mean score after every number of updates that all runs have."""
    steps: dict[int, dict[Spot, np.ndarray[Any, Any]]] = {}
    scored = [r for r in results if r.scored]
    for r in scored:
        for point in r.curve:
            if (value := of_point(point, unit)) is not None:
                steps.setdefault(point.step, {})[r.run.task, r.run.seed] = np.array([value])
    return [(float(step), mean_of([runs])) for step, runs in sorted(steps.items()) if len(runs) == len(scored)]
