"""What commands print: tables and progress for people, one JSON object for scripts."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

UNFOLDED = 500
"""Columns where there is no terminal: no line is folded, so that it can be searched."""
EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal."""


class Output:
    """Results go to standard output, progress to standard error; with ``as_json``, the result is one JSON object."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self._bars: Any = None
        self._stages: dict[str, Any] = {}
        self._said = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line for people."""
        if not self.as_json:
            print(text, flush=True)

    def result(self, value: Mapping[str, Any]) -> None:
        """Print the result for scripts."""
        if self.as_json:
            print(json.dumps(value))

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None, left: int = 1
    ) -> None:
        """Print a table for people; all columns but the first ``left`` are right-aligned. Nothing is cut off."""
        if self.as_json:
            return
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title and Text(title), box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
        for i, column in enumerate(columns):
            table.add_column(Text(column), justify="left" if i < left else "right", overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))  # as it is: square brackets are no markup
        width = None if sys.stdout.isatty() else UNFOLDED
        Console(width=width).print(table)

    def progress(self, stage: str, done: int, total: int, metrics: Mapping[str, float] = {}, /) -> None:
        """Show how far a stage is: a bar on a terminal, a line every ten seconds elsewhere."""
        if not sys.stderr.isatty():
            if time.monotonic() - self._said >= EVERY:
                self._said = time.monotonic()
                print(f"{stage}: {done} of {total}", file=sys.stderr, flush=True)
            return
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            words = (TextColumn("{task.description}"), TextColumn("{task.fields[loss]}"))
            columns = (words[0], BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), words[1])
            self._bars = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bars.start()
        if stage not in self._stages:
            self._stages[stage] = self._bars.add_task(stage, total=total, loss="")
        shown = {"loss": f"loss {metrics['loss']:.4g}"} if "loss" in metrics else {}
        self._bars.update(self._stages[stage], completed=done, total=total, **shown)

    def close(self) -> None:
        """Take the bars down."""
        if self._bars is not None:
            self._bars.stop()
            self._bars, self._stages = None, {}


def mean_of(values: Sequence[float]) -> float | None:
    """Return the mean, or None of nothing: what ``number`` shows as a dash."""
    return sum(values) / len(values) if values else None


def number(value: float | None, digits: int = 1) -> str:
    """Return a number for a table, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def interval(value: Sequence[float], digits: int = 1) -> str:
    """Return an interval for a table."""
    return f"[{value[0]:.{digits}f}, {value[1]:.{digits}f}]"


def duration(seconds: float) -> str:
    """Return a time in words, as exact as one wants to know it."""
    if seconds < 100.0:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def as_text(value: Any) -> str:
    """Return a value from a header for a table, whole."""
    return value if isinstance(value, str) else json.dumps(value)
