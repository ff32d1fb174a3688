"""Plain arrays in a NumPy archive (.npz), in one of two layouts.

Flat: ``observations`` [M, S], ``actions`` [M, A], ``rewards`` [M] of all episodes, one behind the other, and
``lengths`` [N] of the episodes; without it, an episode ends where ``terminations`` or ``truncations`` [M] says so.
With ``lengths``, observations may be [M + N, S], with the state that followed each episode's last step, and a flag or
another entry may have one value an episode, [N].

By episode: names such as ``episode_0/observations``, with any word before the slash; a number in it gives the order.
"""

import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trajtune.data.episodes import TERMINATED, TRUNCATED, Episode
from trajtune.data.formats.base import Format
from trajtune.data.trajectories import Array
from trajtune.errors import UserError, first_line
from trajtune.files import regular_size, write_atomically

LENGTHS = "lengths"


def recognises(path: Path) -> bool:
    """Tell whether this is a zip archive of arrays alone."""
    if path.suffix != ".npz" or not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return all(name.endswith(".npy") for name in archive.namelist())


def read(path: Path) -> Iterator[Episode]:
    """Yield the episodes of an archive."""
    arrays = _arrays(path)
    if any("/" in name for name in arrays):
        yield from _by_episode(path, arrays)
    else:
        yield from _flat(path, arrays)


def write(path: Path, episodes: Iterable[Episode]) -> None:
    """Write episodes by name, so that nothing that one of them has is lost."""
    arrays: dict[str, Any] = {
        f"episode_{i}/{name}": np.asarray(value) for i, e in enumerate(episodes) for name, value in e.items()
    }
    if odd := [name for name, array in arrays.items() if array.dtype.kind not in "biufU"]:
        raise UserError(f"cannot write {path}: {odd[0]} is no array of numbers")

    def save(temporary: Path) -> None:
        with open(temporary, "wb") as file:  # a file, because savez puts .npz behind a name
            np.savez(file, **arrays)

    write_atomically(path, save)


ARRAYS = Format("NumPy arrays in an .npz file, all episodes in a row or by name", recognises, read, write)


def _arrays(path: Path) -> dict[str, Array]:
    try:
        regular_size(path)
        if not zipfile.is_zipfile(path):  # what is none, np.load would take for a pickle
            raise ValueError("it is no zip archive")
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # zip, zlib and NumPy's headers, which are parsed as Python, have errors of all kinds
        reason = "it holds Python objects, which are not read" if "pickle" in str(error) else first_line(error)
        raise UserError(f"{path} is damaged or not an .npz file of arrays ({reason})") from None


def _by_episode(path: Path, arrays: Mapping[str, Array]) -> Iterator[Episode]:
    episodes: dict[str, dict[str, Any]] = {}
    for name, array in arrays.items():
        episode, slash, key = name.rpartition("/")
        if not slash:
            raise UserError(f"{path}: {name} belongs to no episode, while others do: name it as in episode_0/{name}")
        episodes.setdefault(episode, {})[key] = array
    yield from (episodes[name] for name in sorted(episodes, key=_natural))


def _natural(name: str) -> list[tuple[int, str]]:
    """Order by the numbers in a name: episode_2 before episode_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _flat(path: Path, arrays: dict[str, Array]) -> Iterator[Episode]:
    if "rewards" not in arrays or arrays["rewards"].ndim == 0:
        raise UserError(f"{path} has no rewards; it has {', '.join(arrays) or 'nothing'}")
    steps, lengths = len(arrays["rewards"]), _lengths(path, arrays)
    count, starts = len(lengths), np.concatenate([[0], np.cumsum(lengths)])
    for i, length in enumerate(lengths):
        episode: dict[str, Any] = {}
        for name, array in arrays.items():
            rows = len(array) if array.ndim else -1
            if rows == steps:
                episode[name] = array[starts[i] : starts[i] + length]
            elif rows == steps + count and name == "observations":
                episode[name] = array[starts[i] + i : starts[i] + i + length + 1]
            elif rows == count:
                episode[name] = array[i]
            else:
                raise UserError(
                    f"{path}: {name} has shape {array.shape}, which fits neither {steps} steps nor {count} episodes"
                )
        yield episode


def _lengths(path: Path, arrays: dict[str, Array]) -> Array:
    """Take the lengths of the episodes out of the arrays, or find where they end."""
    steps, lengths = len(arrays["rewards"]), arrays.pop(LENGTHS, None)
    if lengths is None:
        ends = np.zeros(steps, bool)
        for name in (*TERMINATED, *TRUNCATED):
            if name in arrays and arrays[name].shape == (steps,) and arrays[name].dtype.kind in "biuf":
                ends |= arrays[name] != 0
        if not ends.any():
            raise UserError(f"{path} does not say where episodes end: it needs {LENGTHS}, or flags at every step")
        last = np.flatnonzero(ends)
        last = last if last[-1] == steps - 1 else np.append(last, steps - 1)  # the recording was stopped
        return np.diff(last, prepend=-1)
    whole = lengths.ndim == 1 and lengths.dtype.kind in "iu"
    if not whole or not (lengths > 0).all() or int(lengths.sum()) != steps:
        raise UserError(f"{path}: {LENGTHS} must be whole numbers from 1 on that add up to its {steps} steps")
    return lengths.astype(np.int64)
