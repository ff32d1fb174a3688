"""Figures 1, 4 and 8: bars by the quality of data, by sparse and dense reward, and by suite and tuning."""

from collections.abc import Sequence
from typing import Any

from trajtune.report.figures.style import LABELS, asked_alike, bars, legend, looks, new_figure, over_tunings, words
from trajtune.report.index import Place, in_order
from trajtune.report.scores import Unit, runs_of
from trajtune.report.uncertainty import Estimate, Runs, mean_of
from trajtune.report.wording import algorithm_name, setting_words

Column = tuple[str, str]
REWARDS = ("dense", "sparse")


def columns_of(places: Sequence[Place]) -> list[Column]:
    """Return algorithm and label of every cell, once."""
    return list(dict.fromkeys(cell[:2] for place in places for cell in place.tuned))


def known(runs: Runs) -> Estimate | None:
    """Return the mean of runs, or None of none."""
    return mean_of([runs]) if runs else None


def figure1(places: Sequence[Place]) -> Any | None:
    """By quality: a panel a suite, algorithms across, a bar a quality; averaged over tunings."""
    tuned = [p for p in asked_alike(places) if p.setting.quality is not None and p.setting.reward == "dense"]
    by_number: dict[int, list[Place]] = {}
    for place in tuned:
        by_number.setdefault(place.setting.trajectories, []).append(place)
    both = [own for own in by_number.values() if len({p.setting.quality for p in own}) > 1]
    if not both:
        return None
    own = max(both, key=len)
    groups, columns = in_order(p.group for p in own), columns_of(own)
    qualities = in_order(str(p.setting.quality) for p in own)
    figure, axes = new_figure(1, len(groups), 0.9 + 0.35 * len(columns))
    look = looks(qualities)
    for axis, group in zip(axes[0], groups, strict=True):
        here = {str(p.setting.quality): p for p in own if p.group == group}
        unit = _common(list(here.values()))
        series = {q: [known(over_tunings(here[q], c, unit)) if q in here else None for c in columns] for q in qualities}
        bars(axis, [algorithm_name(c) for c in columns], series, look)
        axis.set_title(words(group), fontsize=9)
        axis.set_ylabel(LABELS[unit], fontsize=8)
    figure.suptitle(f"{own[0].setting.trajectories} trajectories, by quality (mean over tunings, 95%)", fontsize=9)
    legend(figure, axes)
    return figure


def _common(places: Sequence[Place]) -> Unit:
    units = {place.unit for place in places}
    return units.pop() if len(units) == 1 else "return"


def figure4(places: Sequence[Place]) -> Any | None:
    """Sparse and dense reward: algorithms across, averaged over suites and tunings; a panel a quality."""
    tuned = asked_alike(places)
    by_data: dict[tuple[str | None, int], list[Place]] = {}
    for place in tuned:
        by_data.setdefault((place.setting.quality, place.setting.trajectories), []).append(place)
    both = {data: own for data, places in by_data.items() if (own := _under_both(places))}
    if not both:
        return None
    figure, axes = new_figure(1, len(both), 0.9 + 0.35 * len(columns_of(tuned)))
    for axis, ((quality, count), own) in zip(axes[0], both.items(), strict=True):
        unit, columns = own[0].unit, columns_of(own)
        series = {}
        for reward in REWARDS:
            suites = [[over_tunings(p, c, unit) for p in own if p.setting.reward == reward] for c in columns]
            series[reward] = [mean_of(runs) if all(runs) else None for runs in suites]
        bars(axis, [algorithm_name(c) for c in columns], series, looks(series))
        axis.set_title(f"{count} {words(quality or '')} trajectories", fontsize=9)
        axis.set_ylabel(LABELS[unit], fontsize=8)
    figure.suptitle("By reward (mean over suites and tunings, 95%)", fontsize=9)
    legend(figure, axes)
    return figure


def _under_both(own: Sequence[Place]) -> list[Place]:
    """Only suites that have both rewards, in one unit, can be averaged over."""
    own = [p for p in own if p.unit == own[0].unit]
    rewards = {group: {p.setting.reward for p in own if p.group == group} for group in in_order(p.group for p in own)}
    return [p for p in own if rewards[p.group] == set(REWARDS)]


def figure8(places: Sequence[Place]) -> Any | None:
    """Every cell: a line of panels a tuning, a panel a suite, a bar an algorithm; the broken line is zero-shot."""
    tuned = [p for p in places if p.tuned]
    if not tuned:
        return None
    wanted = [p for p in tuned if (p.setting.quality, p.setting.reward) == ("expert", "dense")] or tuned
    setting = max(wanted, key=lambda p: p.setting.trajectories).setting
    own = [p for p in tuned if p.setting == setting]
    tunings, columns = in_order(cell[2] for p in own for cell in p.tuned), columns_of(own)
    figure, axes = new_figure(len(tunings), len(own), 0.9 + 0.3 * len(columns), 1.9)
    names = [algorithm_name(c) for c in columns]
    look = looks(names)
    for j, place in enumerate(own):
        for i, tuning in enumerate(tunings):
            axis = axes[i][j]
            for name, column in zip(names, columns, strict=True):
                found = known(runs_of(place.cells.get((*column, tuning), []), place.unit))
                values = [found if n == name else None for n in names]
                bars(axis, names, {name: values}, look)
            if place.zero is not None and (zero := known(runs_of(place.cells[place.zero], place.unit))) is not None:
                axis.axhline(zero.mean, color="0.2", linestyle="--", linewidth=0.9, label="zero-shot")
            axis.set_title(f"{words(place.group)}, {tuning}", fontsize=8)
            axis.set_ylabel(LABELS[place.unit], fontsize=7)
            axis.set_xticks([])
    figure.suptitle(f"{words(setting_words(setting))} (95% intervals)", fontsize=9)
    legend(figure, axes)
    return figure
