"""One way to say how far something is. Whoever does long work takes a ``Progress``; whoever shows it gives one."""

from collections.abc import Mapping
from typing import Protocol


class Progress(Protocol):
    """Called as work goes on: what is being done, how much of it, and what was measured on the way."""

    def __call__(self, stage: str, done: int, total: int, metrics: Mapping[str, float] = {}, /) -> None: ...


def silent(stage: str, done: int, total: int, metrics: Mapping[str, float] = {}, /) -> None:
    """Say nothing."""
