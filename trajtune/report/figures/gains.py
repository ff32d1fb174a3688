"""Every cell's gain over its baseline with its interval, and how scores are spread over runs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trajtune.report.aggregates import profile
from trajtune.report.cells import Comparison
from trajtune.report.figures.style import LABELS, legend, looks, new_figure, words
from trajtune.report.index import Place, in_order
from trajtune.report.scores import runs_of
from trajtune.report.uncertainty import Array
from trajtune.report.wording import algorithm_name, cell_name, comparison_title

SIGNS = {"better": ("#0072B2", "^"), "worse": ("#D55E00", "v")}
"""Of gains that are told apart from chance. All others are open grey circles."""


def gains(comparisons: Sequence[Comparison]) -> Any | None:
    """A panel a suite and setting, a line a cell: a gain far from the line is seen first, then whether it is sure."""
    own = [c for c in comparisons if any(cell.gain is not None for cell in c.cells)]
    if not own:
        return None
    across = min(3, len(own))
    rows = -(-len(own) // across)
    figure, axes = new_figure(rows, across, 3.6, 0.5 + 0.16 * max(len(c.cells) for c in own))
    for axis in axes.flat[len(own) :]:
        axis.set_visible(False)
    for axis, comparison in zip(axes.flat, own, strict=False):
        _forest(axis, comparison)
    figure.suptitle(f"Gain over {own[0].baseline}, 95% intervals; filled: told apart (Holm)", fontsize=9)
    return figure


def _forest(axis: Any, comparison: Comparison) -> None:
    # The baseline itself has no gain; what has none because nothing is left of it says so.
    cells = [c for c in reversed(comparison.cells) if c.gain is not None or c.algorithm != comparison.baseline]
    by_verdict: dict[str, list[tuple[float, float, float]]] = {}
    for y, cell in enumerate(cells):
        if cell.gain is None:
            axis.text(0.0, y, cell.verdict or "-", fontsize=6, va="center", ha="center", color="0.4")
            continue
        reach = 0.0 if cell.interval is None else cell.interval[1] - cell.gain
        by_verdict.setdefault(cell.verdict, []).append((cell.gain, y, reach))
    for verdict, points in by_verdict.items():
        x, at, reaches = zip(*points, strict=True)
        colour, marker = SIGNS.get(verdict, ("0.45", "o"))
        face = colour if verdict in SIGNS else "white"
        axis.errorbar(
            x, at, xerr=reaches, fmt=marker, color=colour, markerfacecolor=face, markersize=4.5, elinewidth=1.0,
            capsize=1.5,
        )  # fmt: skip
    axis.axvline(0.0, color="0.3", linewidth=0.8)
    axis.grid(axis="x", color="0.85", linewidth=0.6)
    names = [words(cell_name((c.algorithm, c.label, c.tuning)) + _odd(c)) for c in cells]
    axis.set_yticks(range(len(cells)), names, fontsize=6)
    axis.set_ylim(-0.7, len(cells) - 0.3)
    axis.set_title(words(comparison_title(comparison)), fontsize=8)
    axis.set_xlabel(f"{LABELS[comparison.unit]} - {comparison.baseline}", fontsize=7)
    axis.locator_params(axis="x", nbins=5)


def _odd(cell: Any) -> str:
    return f" ({cell.verdict})" if cell.verdict in ("diverged", "failed") else ""


def profiles(places: Sequence[Place]) -> Any | None:
    """The share of runs above every score: a line of panels a suite and setting, a panel a tuning."""
    own = [p for p in places if p.unit != "return" and p.tuned]
    if not own:
        return None
    tunings = in_order(cell[2] for p in own for cell in p.tuned)
    figure, axes = new_figure(len(own), len(tunings), 2.8, 2.0, shared=True)
    look = looks(["zero-shot", *dict.fromkeys(algorithm_name(c[:2]) for p in own for c in p.tuned)])
    for i, place in enumerate(own):
        levels = _levels(place)
        for j, tuning in enumerate(tunings):
            shown = {algorithm_name(c[:2]): runs for c, runs in place.tuned.items() if c[2] == tuning}
            if place.zero is not None:
                shown["zero-shot"] = place.cells[place.zero]
            for name, results in shown.items():
                if runs := runs_of(results, place.unit):
                    style, shares = look[name], profile(runs, levels)
                    axes[i][j].plot(levels, shares, label=words(name), color=style.colour, linestyle=style.dash)
            axes[i][j].set_title(words(f"{comparison_title(place)}\n{tuning}"), fontsize=8)
            axes[i][j].set_xlabel(LABELS[place.unit], fontsize=7)
            axes[i][j].set_ylabel("share of runs above", fontsize=7)
            axes[i][j].label_outer()
    legend(figure, axes)
    return figure


def _levels(place: Place) -> Array:
    means = [each.mean() for runs in place.cells.values() for each in runs_of(runs, place.unit).values()]
    return np.linspace(min(means, default=0.0), max(means, default=1.0), 200)
