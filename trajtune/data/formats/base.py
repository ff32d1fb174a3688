"""What a data format is: a way to turn files that others wrote into episodes, and perhaps back."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from trajtune.data.episodes import Episode


class Format(NamedTuple):
    """A line about a format, and what it can do. What is heavy is imported in the functions, not beside them.

    ``recognises(path)`` tells cheaply whether a file or folder is of this format: from names and first bytes.
    ``read(path)`` yields what ``from_episodes`` takes, one episode after the other; what is damaged is a ``UserError``
    of one line that names the file. Nothing is ever unpickled.
    """

    summary: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path], Iterator[Episode]]
    write: Callable[[Path, Iterable[Episode]], None] | None = None
