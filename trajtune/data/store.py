"""The dataset on disk: memory-mapped flat arrays, an index of trajectories, and a header that signs them all."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trajtune.artifacts import DATASET, read_header, signature
from trajtune.data.trajectories import Array, Trajectories
from trajtune.errors import UserError, first_line, unknown
from trajtune.files import read_arrays
from trajtune.seeds import stream

FLAT = ("observations", "actions", "rewards", "returns_to_go")
ACHIEVED = "achieved"
INDEX = "index.safetensors"
METADATA = DATASET.header
FILES = (*(f"{name}.npy" for name in FLAT), INDEX)
"""What every dataset has beside its header; ``achieved.npy`` is there if the header has an ``achieved_dim``."""
DTYPES = ("float32", "float16")
INDEX_DTYPES = {
    "start": "<i8",
    "length": "<i8",
    "task": "<i8",
    "quality": "<i8",
    "seed": "<i8",
    "terminated": "?",
    "final_observations": "<f4",  # may be left out: the state after the last step is not known
}


@dataclass(frozen=True, repr=False)
class Dataset:
    """Many trajectories of one suite, opened in constant memory whatever their size."""

    path: Path
    metadata: dict[str, Any]
    trajectories: Trajectories
    quality: Array  # [N] int64, an index into ``qualities``
    seeds: Array  # [N] int64, of each trajectory's reset

    def __repr__(self) -> str:
        found, tasks = self.trajectories, _ranges(sorted(set(self.trajectories.task.tolist())))
        kinds = f"{len(found)} trajectories ({', '.join(self.qualities)}) of tasks {tasks}"
        return f"Dataset({self.path}: {self.suite}, {kinds}, {found.steps} steps)"

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

    def identity(self) -> str:
        """SHA-256 over what decides numbers: the data files, what they mean, and the references."""
        files = {name: entry["sha256"] for name, entry in self.metadata["files"].items()}
        about = {name: self.metadata.get(name) for name in ("suite", "qualities", "references")}
        return signature({"files": files, **about})

    @classmethod
    def open(cls, path: Path | str, verify: bool = True) -> "Dataset":
        """Open a dataset; ``verify`` reads every file once and compares checksums. Errors name the file."""
        folder = Path(path)
        metadata = read_header(folder, DATASET, verify)
        check_metadata(folder / METADATA, metadata)
        for name in files_of(metadata):  # the header must not be able to leave one out
            if name not in metadata["files"]:
                raise UserError(f"{folder / METADATA} is not complete: it does not name {name}")
        sizes = {"observations": metadata["observation_dim"], "actions": metadata["action_dim"]}
        flat = {name: _open_array(folder, name, metadata["steps"], sizes.get(name)) for name in FLAT}
        if metadata.get("achieved_dim"):
            flat[ACHIEVED] = _open_array(folder, ACHIEVED, metadata["steps"], metadata["achieved_dim"])
        index = _open_index(folder / INDEX)
        rest = {name: index.pop(name) for name in ("quality", "seed")}
        opened = cls(folder, metadata, Trajectories(**flat, **index), rest["quality"], rest["seed"])
        _check_index(opened)
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
                found = np.sort(stream(seed, "few-shot", task).permutation(found)[:count])
            rows.append(found)
        return self.trajectories.subset(np.concatenate(rows))


def files_of(metadata: dict[str, Any]) -> tuple[str, ...]:
    """Return the files of a dataset beside its header."""
    return (*FILES, f"{ACHIEVED}.npy") if metadata.get("achieved_dim") else FILES


def check_metadata(path: Path, metadata: dict[str, Any]) -> None:
    """Check the types that readers rely on, so that damage is found here and not in the middle of a run."""

    def table(value: Any, of: Any) -> bool:
        return isinstance(value, dict) and all(isinstance(entry, of) for entry in value.values())

    qualities, references = metadata.get("qualities"), metadata.get("references", {})
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
        "achieved_dim": type(metadata.get("achieved_dim", 0)) is int and metadata.get("achieved_dim", 0) >= 0,
        "run": isinstance(metadata.get("run", {}), dict),
    }
    for name, fits in good.items():
        if not fits:
            raise UserError(f"{path} is not complete: its {name!r} is missing or damaged")


def _open_array(folder: Path, name: str, steps: int, size: int | None) -> Array:
    """Map a file of [steps] or [steps, size] floats into memory."""
    path = folder / f"{name}.npy"
    try:
        # Not np.load: this reads .npy and nothing else, and has no way to unpickle.
        array: Array = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # NumPy parses the header as Python, and lets the tokenizer's errors through
        raise UserError(f"{path} is damaged or not a NumPy array ({first_line(error)})") from None
    expected = (steps,) if size is None else (steps, size)
    if array.shape != expected or array.dtype.name not in DTYPES:  # well-formed, and not that of the others
        found = f"it holds {array.dtype} {array.shape}, its header says floats {expected}"
        raise UserError(f"{path} is damaged: {found}")
    return array


def _open_index(path: Path) -> dict[str, Array]:
    """Return the columns that there must be, and those that there may be if they are there."""
    index = read_arrays(path, "dataset")
    count = len(index["start"]) if "start" in index and index["start"].ndim else 0
    columns = {name: index[name] for name in INDEX_DTYPES if name in index}
    for name, dtype in INDEX_DTYPES.items():
        if name == "final_observations" and name not in columns:
            continue
        column, dims = columns.get(name), 2 if name == "final_observations" else 1
        if column is None or column.dtype != np.dtype(dtype) or column.ndim != dims or len(column) != count:
            raise UserError(f"{path} is damaged: its {name!r} is missing or does not fit the others")
    return columns


def _check_index(data: Dataset) -> None:
    """A file may be well-formed and still not belong to the others."""
    flat, steps, where = data.trajectories, data.metadata["steps"], data.path / INDEX
    inside = (flat.start >= 0) & (flat.length > 0) & (flat.length <= steps) & (flat.start <= steps - flat.length)
    named = (data.quality >= 0) & (data.quality < len(data.qualities))
    if not 1 <= len(flat) == data.metadata["trajectories"]:
        raise UserError(f"{where} is damaged: its number of trajectories is not that of the header")
    if not (inside & named).all():
        raise UserError(f"{where} is damaged: it points outside the arrays")
    if flat.final_observations is not None and flat.final_observations.shape[1] != data.metadata["observation_dim"]:
        raise UserError(f"{where} is damaged: its final observations have another size than the others")


def _ranges(numbers: list[int]) -> str:
    """Return 0-3, 7 for [0, 1, 2, 3, 7]."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)
