"""Tables in Markdown: a matrix of scores and one line a cell."""

from collections.abc import Sequence

from trajtune.report.cells import CellSummary, Comparison
from trajtune.study.cell import UNTUNED

MARKS = {"better": " ↑", "worse": " ↓"}


def to_markdown(comparisons: Sequence[Comparison]) -> str:
    """Write every suite and setting as two tables: scores at a glance, then each cell beside its baseline."""
    return "\n\n".join("\n".join(_section(each)) for each in comparisons) + "\n"


def _section(c: Comparison) -> list[str]:
    lines = [f"## {title(c)}", ""]
    lines.append(f"Tasks: {', '.join(c.tasks)}.")
    zeros = [
        f"{_number(zero.score, digits(c))} asked for {_wanted(zero.label)}"
        + ("" if c.unit == "return" else f" (return {_number(zero.mean_return, 1)})")
        for zero in c.zero_shots
    ]
    if zeros:
        lines[-1] += f" Zero-shot: {', '.join(zeros)}."
    marks = [["" if cell is None else mark(cell, c) for cell in line] for line in c.matrix]
    rows = [[cell_name(row), *line] for row, line in zip(c.rows, marks, strict=True)]
    lines += ["", *_table([c.unit, *c.tunings], rows)]
    lines += ["", *_table(columns(c), [cell_row(cell, c) for cell in c.cells])]
    return lines


def title(c: Comparison) -> str:
    """Suite and data setting in words."""
    reward = "" if c.reward == "dense" else f", {c.reward} reward"
    quality = "" if c.quality is None else f"{c.quality} "
    asked = "" if c.target == "best" else f", asked for {_wanted(str(c.target))}"
    return f"{c.group}, {c.trajectories} {quality}trajectories{reward}{asked}"


def _wanted(target: str) -> str:
    """A target return in words."""
    return {"best": "the best", "mean": "the mean", "expert": "the expert's"}.get(target, target)


def columns(c: Comparison) -> list[str]:
    """What stands above ``cell_row``."""
    scores = ["return"] if c.unit == "return" else ["return", c.unit]
    forgotten = ["forgotten"] if any(cell.forgotten is not None for cell in c.cells) else []
    own = [f"minus {c.baseline}", "95% interval", "", "minus its start", *forgotten]
    return ["cell", "runs", *scores, *own, "finetune s", "evaluate s"]


def digits(c: Comparison) -> int:
    """How many a score of this unit is shown with."""
    return 1 if c.unit == "return" else 3


def mark(cell: CellSummary, c: Comparison) -> str:
    """The score, with an arrow where the cell is better or worse than its baseline."""
    if cell.score is None:
        return cell.verdict
    score = f"{cell.score:.{1 if c.unit == 'return' else 2}f}{MARKS.get(cell.verdict, '')}"
    return " ".join([score, *(f"({text})" for text in _odd(cell))])


def cell_row(cell: CellSummary, c: Comparison) -> list[str]:
    """What a table says of a cell, under ``columns``."""
    n = digits(c)
    runs = " + ".join([str(cell.runs), *_odd(cell)])
    interval = "-" if cell.interval is None else f"[{cell.interval[0]:.{n}f}, {cell.interval[1]:.{n}f}]"
    scores = [_number(cell.mean_return, 1)] + ([] if c.unit == "return" else [_number(cell.score, n)])
    row = cell_name((cell.algorithm, cell.label))
    name = row if cell.tuning == UNTUNED else f"{row} x {cell.tuning}"
    seconds = [f"{cell.finetune_seconds:.1f}", f"{cell.evaluate_seconds:.1f}"]
    forgotten = [_number(cell.forgotten, n)] if "forgotten" in columns(c) else []
    own = [_number(cell.gain, n), interval, cell.verdict, _number(cell.moved, n), *forgotten]
    return [name, runs, *scores, *own, *seconds]


def _odd(cell: CellSummary) -> list[str]:
    """How many runs have no score, and why."""
    counts = {"diverged": cell.diverged, "failed": cell.failed}
    return [f"{count} {name}" for name, count in counts.items() if count]


def cell_name(row: tuple[str, str]) -> str:
    """An algorithm, and its label where it has one."""
    return f"{row[0]} ({row[1]})" if row[1] else row[0]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [list(head), ["---", *["---:"] * (len(head) - 1)], *map(list, rows)]
    return ["| " + " | ".join(line) + " |" for line in lines]
