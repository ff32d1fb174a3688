"""Episodes in a CSV file, a step a line: ``episode,observations.0,observations.1,actions.0,rewards,terminated``.

Lines of one episode stand together and have the same word under ``episode``. A name with a number is one column of an
array [T, size], a name without one is an array [T]. Behind the last step may stand a line with the state that followed,
in which all but the observations is empty.
"""

import csv
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from trajtune.data.episodes import Episode
from trajtune.data.formats.base import Format
from trajtune.data.trajectories import Array
from trajtune.errors import UserError, first_line
from trajtune.files import regular_size, write_atomically

EPISODE = "episode"
Line = tuple[int, list[str]]
"""Its number in the file, and its cells."""


def recognises(path: Path) -> bool:
    """Tell whether this is a CSV file whose first column is the episode."""
    if path.suffix != ".csv" or not path.is_file():
        return False
    with open(path, encoding="utf-8") as file:
        return file.readline(1000).startswith(f"{EPISODE},")


def read(path: Path) -> Iterator[Episode]:
    """Yield the episodes, one after the other, without holding the file in memory."""
    try:
        regular_size(path)
        with open(path, encoding="utf-8", newline="") as file:
            lines = ((number, cells) for number, cells in enumerate(csv.reader(file), 1) if cells)
            _, head = next(lines, (0, []))
            columns = _columns(path, head)
            for _, group in itertools.groupby(_whole(path, head, lines), key=lambda line: line[1][0]):
                yield _episode(path, columns, set(head), list(group))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV ({first_line(error)})") from None


def _columns(path: Path, head: Sequence[str]) -> dict[str, list[int]]:
    """Return in which columns each array stands: {"observations": [1, 2], "rewards": [4]}."""
    if not head or head[0] != EPISODE:
        raise UserError(f"{path} must begin with a line of names, the first of them {EPISODE!r}")
    found: dict[str, list[int]] = {}
    for place, name in enumerate(head[1:], 1):
        array, dot, number = name.partition(".")
        places = found.setdefault(array, [])
        if dot and number != str(len(places)):
            raise UserError(f"{path}: column {name!r} stands where {array}.{len(places)} should")
        if not dot and places:
            raise UserError(f"{path} has two columns {name!r}")
        places.append(place)
    return found


def _whole(path: Path, head: Sequence[str], lines: Iterable[Line]) -> Iterator[Line]:
    for number, cells in lines:
        if len(cells) != len(head):
            raise UserError(f"{path}, line {number}: {len(cells)} values under {len(head)} names")
        yield number, cells


def _episode(path: Path, columns: Mapping[str, Sequence[int]], flat: set[str], lines: Sequence[Line]) -> Episode:
    episode = {}
    for name, places in columns.items():
        steps = lines
        if len(lines) > 1 and not any(lines[-1][1][place] for place in places):
            steps = lines[:-1]  # the last line is the state behind the last step
        array = np.array([[_number(path, line, cells[place]) for place in places] for line, cells in steps])
        episode[name] = array[:, 0] if name in flat else array
    return episode


def _number(path: Path, line: int, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise UserError(f"{path}, line {line}: {value[:40]!r} is not a number") from None


def write(path: Path, episodes: Iterable[Episode]) -> None:
    """Write episodes so that ``read`` gives the same numbers to the bit."""

    def save(temporary: Path) -> None:
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            out, head = csv.writer(file), None
            for i, episode in enumerate(episodes):
                table = _table(episode)
                if head is None:
                    head = list(table)
                    out.writerow([EPISODE, *head])
                if list(table) != head:
                    raise UserError(f"episode {i} has other columns than the first: {', '.join(table)}")
                longest = max(map(len, table.values()))
                padded = [[*(repr(float(x)) for x in column), ""][:longest] for column in table.values()]
                out.writerows([i, *row] for row in zip(*padded, strict=True))

    write_atomically(path, save)


def _table(episode: Episode) -> dict[str, Array]:
    """Columns by name; what is told once of an episode is told at its last step."""
    steps = len(episode["rewards"])
    table: dict[str, Array] = {}
    for name, value in episode.items():
        array = np.asarray(value)
        if array.ndim == 0:
            array = np.append(np.zeros(steps - 1), array)
        table |= {name: array} if array.ndim == 1 else {f"{name}.{i}": array[:, i] for i in range(array.shape[1])}
    return table


CSV = Format("a CSV file of steps, its first column the episode", recognises, read, write)
