"""Tables in Markdown: a matrix of scores and one line a cell."""

from collections.abc import Sequence

from trajtune.report.cells import CellSummary, Comparison
from trajtune.study.results import UNTUNED

MARKS = {"better": " ↑", "worse": " ↓", "same": "", "diverged": "", "": ""}


def to_markdown(comparisons: Sequence[Comparison]) -> str:
    """Write every suite and setting as two tables: scores at a glance, then each cell beside its baseline."""
    return "\n\n".join("\n".join(_section(each)) for each in comparisons) + "\n"


def _section(c: Comparison) -> list[str]:
    lines = [f"## {title(c)}", ""]
    lines.append(f"Tasks: {', '.join(c.tasks)}.")
    if c.zero_shot is not None:
        lines[-1] += f" Zero-shot: {_number(c.zero_shot.normalised, 3)} ({_number(c.zero_shot.mean_return, 1)})."
    marks = [["" if cell is None else mark(cell) for cell in line] for line in c.matrix]
    rows = [[cell_name(row), *line] for row, line in zip(c.rows, marks, strict=True)]
    lines += ["", *_table(["normalised", *c.tunings], rows)]
    lines += ["", *_table(columns(c), [cell_row(cell) for cell in c.cells])]
    return lines


def title(c: Comparison) -> str:
    """Suite and data setting in words."""
    reward = "" if c.reward == "dense" else f", {c.reward} reward"
    return f"{c.suite}, {c.trajectories} {c.quality} trajectories{reward}"


def columns(c: Comparison) -> list[str]:
    """What stands above ``cell_row``."""
    difference = [f"minus {c.baseline}", "95% interval", ""]
    return ["cell", "runs", "return", "normalised", *difference, "finetune s", "evaluate s"]


def mark(cell: CellSummary) -> str:
    """The normalised score, with an arrow where the cell is better or worse than its baseline."""
    if cell.normalised is None:
        return cell.verdict
    return f"{cell.normalised:.2f}{MARKS[cell.verdict]}" + (f" ({cell.diverged} diverged)" if cell.diverged else "")


def cell_row(cell: CellSummary) -> list[str]:
    """What a table says of a cell, under ``columns``."""
    runs = str(cell.runs) + (f" + {cell.diverged} diverged" if cell.diverged else "")
    interval = "-" if cell.interval is None else f"[{cell.interval[0]:.3f}, {cell.interval[1]:.3f}]"
    scores = [_number(cell.mean_return, 1), _number(cell.normalised, 3), _number(cell.gain, 3), interval, cell.verdict]
    row = cell_name((cell.algorithm, cell.label))
    name = row if cell.tuning == UNTUNED else f"{row} x {cell.tuning}"
    return [name, runs, *scores, f"{cell.finetune_seconds:.1f}", f"{cell.evaluate_seconds:.1f}"]


def cell_name(row: tuple[str, str]) -> str:
    """An algorithm, and its label where it has one."""
    return f"{row[0]} ({row[1]})" if row[1] else row[0]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [list(head), ["---", *["---:"] * (len(head) - 1)], *map(list, rows)]
    return ["| " + " | ".join(line) + " |" for line in lines]
