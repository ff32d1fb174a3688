"""A picture of every cell's gain over its baseline: one panel a suite and setting, algorithms down, tunings across."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trajtune.errors import UserError
from trajtune.files import write_atomically
from trajtune.report.cells import CellSummary, Comparison
from trajtune.report.markdown import cell_name, digits, mark, title

LIMIT = 0.5
"""Gains beyond this have the strongest colour: half of the way from random to expert, or of all episodes."""


def draw(comparisons: Sequence[Comparison], path: Path) -> None:
    """Write a PNG. Blue is better than the baseline, red worse; an arrow says that the interval leaves zero out."""
    comparisons = [each for each in comparisons if each.cells]  # of an unfinished study, some have zero-shot alone
    if not comparisons:
        raise UserError("there is nothing to draw yet: only zero-shot has results")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = 1.6 + 0.36 * max(len(each.rows) for each in comparisons)
    figure = Figure(figsize=(1.2 + 3.6 * len(comparisons), height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(comparisons), squeeze=False)[0]
    images = [_panel(axis, comparison) for axis, comparison in zip(axes, comparisons, strict=True)]
    bars: list[tuple[Any, Any, str]] = [(*pair, c.unit) for *pair, c in zip(images, axes, comparisons, strict=True)]
    if len({c.unit for c in comparisons}) == 1 and comparisons[0].unit != "return":  # one scale for all
        bars = [(images[0], axes, comparisons[0].unit)]
    for image, where, unit in bars:
        bar = figure.colorbar(image, ax=where, extend="both", shrink=0.9)
        bar.set_label(f"{unit} - {comparisons[0].baseline}\narrow: 95% interval leaves zero out", fontsize=7)
        bar.ax.tick_params(labelsize=7)
    write_atomically(path, lambda p: figure.savefig(p, dpi=130, format="png"))


def _panel(axis: Any, comparison: Comparison) -> Any:
    down, across, cells = comparison.rows, comparison.tunings, comparison.matrix
    gains = np.array([[_gain(cell) for cell in line] for line in cells])
    limit = LIMIT
    if comparison.unit == "return" and np.isfinite(gains).any():  # nobody knows what is much there
        limit = float(np.nanmax(np.abs(gains))) or LIMIT
    image = axis.imshow(gains, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    for y, line in enumerate(cells):
        for x, cell in enumerate(line):
            if cell is not None:
                dark = abs(_gain(cell)) > 0.6 * limit
                text = mark(cell, comparison).replace(" (", "\n(")
                axis.text(x, y, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    zero = comparison.zero_shot
    below = "" if zero is None or zero.score is None else f"\nzero-shot {zero.score:.{digits(comparison) - 1}f}"
    axis.set_title(title(comparison) + below, fontsize=9)
    axis.set_xticks(range(len(across)), across, fontsize=8)
    axis.set_yticks(range(len(down)), [cell_name(row) for row in down], fontsize=8)
    return image


def _gain(cell: CellSummary | None) -> float:
    return np.nan if cell is None or cell.gain is None else cell.gain
