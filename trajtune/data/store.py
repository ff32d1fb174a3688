"""The dataset on disk: memory-mapped flat arrays, an index of trajectories, and metadata with checksums."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trajtune.data.trajectories import Array, Trajectories, returns_to_go
from trajtune.errors import UserError, unknown
from trajtune.files import disk_error, read_arrays, read_json, write_arrays, write_json

FORMAT, VERSION = "trajtune-dataset", 1
FLAT = ("observations", "actions", "rewards", "returns_to_go")
INDEX = "index.safetensors"
METADATA = "dataset.json"


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
        try:
            for name, file in metadata["files"].items():
                _check_file(folder / Path(name).name, int(file["bytes"]), file["sha256"] if verify else None)
            flat = {name: _open_array(folder / f"{name}.npy") for name in FLAT}
            index = read_arrays(folder / INDEX, "dataset")
            trajectories = Trajectories(
                **flat, **{name: index[name] for name in ("start", "length", "task", "terminated")}
            )
            opened = cls(folder, metadata, trajectories, index["quality"], index["seed"], index["final_observations"])
            _check_shapes(opened)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(f"{folder / METADATA} is not complete ({error})") from None
        return opened

    def select(
        self, tasks: list[int] | None = None, quality: str | None = None, count: int | None = None, seed: int = 0
    ) -> Trajectories:
        """Return the trajectories of some tasks and one quality, sorted by task.

        With ``count``, that many of each task, drawn by ``seed``; asking for more than there are is an error.
        """
        if quality is not None and quality not in self.qualities:
            raise unknown("quality", quality, self.qualities)
        available = sorted(set(self.trajectories.task.tolist()))
        rows: list[Array] = []
        for task in available if tasks is None else tasks:
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


class DatasetWriter:
    """Write a dataset one trajectory at a time; nothing is a dataset until ``finish`` has written its metadata."""

    def __init__(self, path: Path | str, observation_dim: int, action_dim: int, dtype: str = "float32") -> None:
        self._path = Path(path)
        self._path.mkdir(parents=True, exist_ok=True)
        if (self._path / METADATA).exists():
            raise UserError(f"{self._path} already holds a dataset: choose another folder")
        self._dtypes = {"observations": dtype, "actions": dtype, "rewards": "<f4", "returns_to_go": "<f4"}
        self._shapes = {
            "observations": (observation_dim,),
            "actions": (action_dim,),
            "rewards": (),
            "returns_to_go": (),
        }
        try:
            self._files = {name: open(self._path / f"{name}.bin", "wb") for name in FLAT}  # noqa: SIM115
        except OSError as error:
            raise disk_error(self._path, error) from error
        self._rows = 0
        self._index: dict[str, list[Any]] = {
            name: [] for name in ("start", "length", "task", "quality", "seed", "terminated", "final_observations")
        }

    def add(
        self,
        observations: Array,
        actions: Array,
        rewards: Array,
        final_observation: Array,
        *,
        task: int,
        quality: int,
        seed: int,
        terminated: bool = False,
    ) -> None:
        """Append one trajectory: observations [T, S], actions [T, A], rewards [T], final_observation [S]."""
        arrays = {
            "observations": observations,
            "actions": actions,
            "rewards": rewards,
            "returns_to_go": returns_to_go(rewards),
        }
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise UserError(f"trajectory {len(self._index['start'])} has a non-finite number in its {name}")
            if array.shape != (len(rewards), *self._shapes[name]):
                raise UserError(f"{name} has shape {array.shape}, expected {(len(rewards), *self._shapes[name])}")
        try:
            for name, array in arrays.items():
                self._files[name].write(np.ascontiguousarray(array, dtype=self._dtypes[name]).tobytes())
        except OSError as error:
            raise disk_error(self._path, error) from error
        entry = (self._rows, len(rewards), task, quality, seed, terminated, final_observation.astype(np.float32))
        for name, value in zip(self._index, entry, strict=True):
            self._index[name].append(value)
        self._rows += len(rewards)

    def finish(self, metadata: dict[str, Any]) -> Dataset:
        """Put headers before the arrays, checksum everything, and write the metadata last."""
        if not self._index["start"]:
            raise UserError("there are no trajectories to write")
        for name, file in self._files.items():
            file.close()
            self._finish_array(name)
        arrays = {
            name: np.array(values, bool if name == "terminated" else None) for name, values in self._index.items()
        }
        write_arrays(self._path / INDEX, arrays)
        files = {}
        for name in [*(f"{name}.npy" for name in FLAT), INDEX]:
            files[name] = {"bytes": (self._path / name).stat().st_size, "sha256": _sha256(self._path / name)}
        head = {"format": FORMAT, "version": VERSION}
        sizes = {"trajectories": len(self._index["start"]), "steps": self._rows}
        write_json(self._path / METADATA, {**head, **metadata, **sizes, "files": files})
        return Dataset.open(self._path, verify=False)

    def _finish_array(self, name: str) -> None:
        """Turn raw rows into a .npy file, a block at a time."""
        raw, final = self._path / f"{name}.bin", self._path / f"{name}.npy"
        shape = (self._rows, *self._shapes[name])
        descr = np.lib.format.dtype_to_descr(np.dtype(self._dtypes[name]))
        try:
            with open(raw, "rb") as source, open(final, "wb") as target:
                np.lib.format.write_array_header_1_0(target, {"descr": descr, "fortran_order": False, "shape": shape})
                while block := source.read(1 << 22):
                    target.write(block)
                target.flush()
                os.fsync(target.fileno())
        except OSError as error:
            raise disk_error(final, error) from error
        raw.unlink()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_file(path: Path, size: int, sha256: str | None) -> None:
    if not path.exists():
        raise UserError(f"{path.parent} is not a complete dataset: {path.name} is missing")
    actual = path.stat().st_size
    if actual != size:
        raise UserError(f"{path} is damaged: it has {actual} bytes, its metadata says {size}")
    if sha256 is not None and _sha256(path) != sha256:
        raise UserError(f"{path} is damaged: its checksum does not match the metadata")


def _open_array(path: Path) -> Array:
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} is damaged or not a NumPy array ({str(error)[:100]})") from None
    return array


def _check_shapes(data: Dataset) -> None:
    """A file may be well-formed and still not belong to the others."""
    flat, count = data.trajectories, len(data.trajectories)
    steps = len(flat.rewards)
    if any(len(getattr(flat, name)) != steps for name in FLAT):
        raise UserError(f"{data.path} is damaged: its arrays have different lengths")
    inside = (flat.start >= 0) & (flat.length > 0) & (flat.start + flat.length <= steps)
    columns = (flat.length, flat.task, flat.terminated, data.quality, data.seeds, data.final_observations)
    if any(len(column) != count for column in columns) or not inside.all():
        raise UserError(f"{data.path / INDEX} is damaged: it points outside the arrays")
    dims = (data.metadata["observation_dim"], data.metadata["action_dim"])
    if (flat.observations.shape[1], flat.actions.shape[1]) != dims:
        raise UserError(f"{data.path} is damaged: its arrays do not have the dimensions {dims} of its metadata")


def _ranges(numbers: list[int]) -> str:
    """Return 0-3, 7 for [0, 1, 2, 3, 7]."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)
