"""A picture of every cell's gain over its baseline: one panel a suite and setting, algorithms down, tunings across."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trajtune.errors import UserError
from trajtune.files import write_atomically
from trajtune.report.cells import CellSummary, Comparison
from trajtune.report.markdown import cell_name, mark, title

LIMIT = 0.5
"""Gains beyond this have the strongest colour: half of the way from random to expert."""


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
    for axis, comparison in zip(axes, comparisons, strict=True):
        image = _panel(axis, comparison)
    bar = figure.colorbar(image, ax=axes, extend="both", shrink=0.9)
    bar.set_label(f"normalised return - {comparisons[0].baseline}\narrow: 95% interval leaves zero out", fontsize=7)
    bar.ax.tick_params(labelsize=7)
    write_atomically(path, lambda p: figure.savefig(p, dpi=130, format="png"))


def _panel(axis: Any, comparison: Comparison) -> Any:
    down, across, cells = comparison.rows, comparison.tunings, comparison.matrix
    gains = np.array([[_gain(cell) for cell in line] for line in cells])
    image = axis.imshow(gains, cmap="RdBu", vmin=-LIMIT, vmax=LIMIT, aspect="auto")
    for y, line in enumerate(cells):
        for x, cell in enumerate(line):
            if cell is not None:
                dark = abs(_gain(cell)) > 0.6 * LIMIT
                text = mark(cell).replace(" (", "\n(")
                axis.text(x, y, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    zero = comparison.zero_shot
    below = "" if zero is None or zero.normalised is None else f"\nzero-shot {zero.normalised:.2f}"
    axis.set_title(title(comparison) + below, fontsize=9)
    axis.set_xticks(range(len(across)), across, fontsize=8)
    axis.set_yticks(range(len(down)), [cell_name(row) for row in down], fontsize=8)
    return image


def _gain(cell: CellSummary | None) -> float:
    return np.nan if cell is None or cell.gain is None else cell.gain
