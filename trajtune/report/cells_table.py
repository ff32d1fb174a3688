"""One line a cell: its score beside its baseline, how sure that is, and what it took."""

from collections.abc import Sequence

from trajtune.report.cells import CellSummary, Comparison
from trajtune.report.returns_table import DIGITS
from trajtune.report.table import Block, Row, Table, number
from trajtune.report.wording import asked_for, cell_name, comparison_title

OVER = {
    "tasks": "over tasks",
    "seeds": "over seeds of these tasks alone (fewer than three tasks)",
    "episodes": "over episodes of these runs alone (one seed)",
    "nothing": "not to be told (one episode)",
}


def cells_tables(comparisons: Sequence[Comparison]) -> list[Table]:
    """Return a table a suite and setting."""
    return [
        Table(
            "cells",
            comparison_title(c),
            tuple(columns(c)),
            (Block("", tuple(_row(cell, c) for cell in (*c.zero_shots, *c.cells))),),
            notes=notes(c),
        )
        for c in comparisons
    ]


def _row(cell: CellSummary, c: Comparison) -> Row:
    name, *rest = cell_row(cell, c)
    return Row(name, tuple(rest))


def notes(c: Comparison) -> tuple[str, ...]:
    """Return what has to be known to read it."""
    over = list(dict.fromkeys(OVER[cell.over] for cell in c.cells if cell.gain is not None))
    count = sum(cell.p is not None for cell in c.cells)
    p = f"; p corrected for {count} comparisons (Holm)" if count > 1 else ""
    sure = (f"95% intervals {' and '.join(over)}{p}.",) if over else ()
    return (f"Tasks: {', '.join(c.tasks)}.", *sure)


def columns(c: Comparison) -> list[str]:
    """Return what stands above ``cell_row``."""
    scores = ["return"] if c.unit == "return" else ["return", c.unit]
    forgotten = ["forgotten"] if any(cell.forgotten is not None for cell in c.cells) else []
    own = [f"minus {c.baseline}", "95% interval", "p", "", "minus its start", "best - last", *forgotten]
    return ["cell", "runs", *scores, *own, "finetune s", "evaluate s"]


def cell_row(cell: CellSummary, c: Comparison) -> list[str]:
    """Return what is said of a cell, under ``columns``."""
    n = 1 if c.unit == "return" else DIGITS[c.unit]
    counts = {"diverged": cell.diverged, "failed": cell.failed}
    runs = " + ".join([str(cell.runs), *(f"{count} {name}" for name, count in counts.items() if count)])
    interval = "-" if cell.interval is None else f"[{cell.interval[0]:.{n}f}, {cell.interval[1]:.{n}f}]"
    scores = [number(cell.mean_return, 1)] + ([] if c.unit == "return" else [number(cell.score, n)])
    p = "-" if cell.p is None else "<0.001" if cell.p < 0.001 else f"{cell.p:.3f}"
    forgotten = [number(cell.forgotten, n)] if "forgotten" in columns(c) else []
    label = asked_for(cell.label) if cell in c.zero_shots else cell.label
    name = cell_name((cell.algorithm, label, cell.tuning))
    own = [number(cell.gain, n), interval, p, cell.verdict, number(cell.moved, n), number(cell.selected, n), *forgotten]
    return [name, runs, *scores, *own, f"{cell.finetune_seconds:.1f}", f"{cell.evaluate_seconds:.1f}"]
