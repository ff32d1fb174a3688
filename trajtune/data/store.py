"""The dataset on disk: memory-mapped flat arrays, an index of trajectories, and metadata with checksums."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trajtune.data.trajectories import Array, Trajectories
from trajtune.errors import UserError, unknown
from trajtune.files import first_line, read_arrays, read_json, sha256

FORMAT, VERSION = "trajtune-dataset", 1
FLAT = ("observations", "actions", "rewards", "returns_to_go")
INDEX = "index.safetensors"
METADATA = "dataset.json"
FILES = (*(f"{name}.npy" for name in FLAT), INDEX)
DTYPES = ("float32", "float16")
INDEX_DTYPES = {
    "start": "<i8",
    "length": "<i8",
    "task": "<i8",
    "quality": "<i8",
    "seed": "<i8",
    "terminated": "?",
    "final_observations": "<f4",
}


@dataclass(frozen=True)
class Dataset:
    """Many trajectories of one suite, opened in constant memory whatever their size."""

    path: Path
    metadata: dict[str, Any]
    trajectories: Trajectories
    quality: Array  # [N] int64, an index into ``qualities``
    seeds: Array  # [N] int64, of each trajectory's reset
    final_observations: Array  # [N, S]

    @property
    def suite(self) -> str:
        return str(self.metadata["suite"])

    @property
    def qualities(self) -> list[str]:
        return list(self.metadata["qualities"])

    def references(self, task: int) -> dict[str, float]:
        """Return the mean returns of the random policy and of the expert on a task, where they were measured."""
        found: dict[str, float] = self.metadata.get("references", {}).get(str(task), {})
        return found

    @classmethod
    def open(cls, path: Path | str, verify: bool = True) -> "Dataset":
        """Open a dataset; ``verify`` reads every file once and compares checksums. Errors name the file."""
        folder = Path(path)
        metadata = read_json(folder / METADATA, "dataset")
        if metadata.get("format") != FORMAT:
            raise UserError(f"{folder / METADATA} does not describe a trajtune dataset")
        if metadata.get("version") != VERSION:
            raise UserError(f"{folder} has dataset version {metadata.get('version')}; this trajtune reads {VERSION}")
        check_metadata(folder / METADATA, metadata)
        for name in FILES:  # not those that the metadata lists: it must not be able to leave one out
            file = metadata["files"][name]
            _check_file(folder / name, file["bytes"], file["sha256"] if verify else None)
        flat = {name: _open_array(folder / f"{name}.npy") for name in FLAT}
        index = _open_index(folder / INDEX)
        trajectories = Trajectories(**flat, **{name: index[name] for name in ("start", "length", "task", "terminated")})
        opened = cls(folder, metadata, trajectories, index["quality"], index["seed"], index["final_observations"])
        _check_shapes(opened)
        return opened

    def select(
        self, tasks: list[int] | None = None, quality: str | None = None, count: int | None = None, seed: int = 0
    ) -> Trajectories:
        """Return the trajectories of some tasks and one quality, sorted by task.

        With ``count``, that many of each task, drawn by ``seed``; asking for more than there are is an error.
        """
        if tasks is not None and not tasks:
            raise UserError("no tasks asked for: name at least one")
        if quality is not None and quality not in self.qualities:
            raise unknown("quality", quality, self.qualities)
        available = sorted(set(self.trajectories.task.tolist()))
        rows: list[Array] = []
        for task in available if tasks is None else sorted(set(tasks)):
            match = self.trajectories.task == task
            if quality is not None:
                match &= self.quality == self.qualities.index(quality)
            found = np.flatnonzero(match)
            if len(found) == 0:
                kind = f"{quality} trajectories" if quality else "trajectories"
                raise UserError(f"{self.path} has no {kind} of task {task}; it has tasks {_ranges(available)}")
            if count is not None:
                if not 1 <= count <= len(found):
                    raise UserError(f"{count} trajectories asked for, task {task} has 1 to {len(found)} of them")
                found = np.sort(np.random.default_rng([seed, task]).permutation(found)[:count])
            rows.append(found)
        return self.trajectories.subset(np.concatenate(rows))


def check_metadata(path: Path, metadata: dict[str, Any]) -> None:
    """Check the types that readers rely on, so that damage is found here and not in the middle of a run."""

    def table(value: Any, of: Any) -> bool:
        return isinstance(value, dict) and all(isinstance(entry, of) for entry in value.values())

    qualities, files, references = metadata.get("qualities"), metadata.get("files"), metadata.get("references", {})
    good = {
        "suite": isinstance(metadata.get("suite"), str),
        "observation_dim": type(metadata.get("observation_dim")) is int,
        "action_dim": type(metadata.get("action_dim")) is int,
        "trajectories": type(metadata.get("trajectories")) is int,
        "steps": type(metadata.get("steps")) is int,
        "qualities": isinstance(qualities, list) and all(isinstance(quality, str) for quality in qualities),
        "references": table(references, dict) and all(table(entry, (int, float)) for entry in references.values()),
        "tasks": table(metadata.get("tasks", {}), dict),
        "sources": table(metadata.get("sources", {}), dict),
        "collection": isinstance(metadata.get("collection", {}), dict),
        "files": isinstance(files, dict) and all(_is_file_entry(files.get(name)) for name in FILES),
    }
    for name, fits in good.items():
        if not fits:
            raise UserError(f"{path} is not complete: its {name!r} is missing or damaged")


def _is_file_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and type(entry.get("bytes")) is int and isinstance(entry.get("sha256"), str)


def _check_file(path: Path, size: int, expected: str | None) -> None:
    try:
        actual = path.stat().st_size
        if actual != size:
            raise UserError(f"{path} is damaged: it has {actual} bytes, its metadata says {size}")
        if expected is not None and sha256(path) != expected:
            raise UserError(f"{path} is damaged: its checksum does not match the metadata")
    except FileNotFoundError:
        raise UserError(f"{path.parent} is not a complete dataset: {path.name} is missing") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None


def _open_array(path: Path) -> Array:
    try:
        # Not np.load: this reads .npy and nothing else, and has no way to unpickle.
        array: Array = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # NumPy parses the header as Python, and lets the tokenizer's errors through
        raise UserError(f"{path} is damaged or not a NumPy array ({first_line(error)})") from None
    return array


def _open_index(path: Path) -> dict[str, Array]:
    index = read_arrays(path, "dataset")
    count = len(index["start"]) if "start" in index and index["start"].ndim else 0
    for name, dtype in INDEX_DTYPES.items():
        dims = 2 if name == "final_observations" else 1
        column = index.get(name)
        if column is None or column.dtype != np.dtype(dtype) or column.ndim != dims or len(column) != count:
            raise UserError(f"{path} is damaged: its {name!r} is missing or does not fit the others")
    return index


def _check_shapes(data: Dataset) -> None:
    """A file may be well-formed and still not belong to the others."""
    flat, steps = data.trajectories, data.metadata["steps"]
    sizes = {"observations": data.metadata["observation_dim"], "actions": data.metadata["action_dim"]}
    for name in FLAT:
        array, expected = getattr(flat, name), (steps, *([sizes[name]] if name in sizes else []))
        if array.shape != expected or array.dtype.name not in DTYPES:
            found = f"it holds {array.dtype} {array.shape}, its metadata says floats {expected}"
            raise UserError(f"{data.path / f'{name}.npy'} is damaged: {found}")
    inside = (flat.start >= 0) & (flat.length > 0) & (flat.length <= steps) & (flat.start <= steps - flat.length)
    named = (data.quality >= 0) & (data.quality < len(data.qualities))
    if not 1 <= len(flat) == data.metadata["trajectories"]:
        raise UserError(f"{data.path / INDEX} is damaged: its number of trajectories is not that of the metadata")
    if not (inside & named).all():
        raise UserError(f"{data.path / INDEX} is damaged: it points outside the arrays")
    if data.final_observations.shape[1] != sizes["observations"]:
        raise UserError(f"{data.path / INDEX} is damaged: its final observations have another size than the others")


def _ranges(numbers: list[int]) -> str:
    """Return 0-3, 7 for [0, 1, 2, 3, 7]."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)
