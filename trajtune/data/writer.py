"""Writing a dataset, one trajectory at a time."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from trajtune.artifacts import DATASET, ELSEWHERE, MARK, claim, clear, finish
from trajtune.data.store import (
    ACHIEVED,
    DTYPES,
    FILES,
    FLAT,
    INDEX,
    INDEX_DTYPES,
    METADATA,
    Dataset,
    check_metadata,
    files_of,
)
from trajtune.data.trajectories import Array, returns_to_go
from trajtune.errors import UserError, unknown
from trajtune.files import disk_error, read_json, write_arrays

BESIDE = ("parts", "experts")
"""What a collection may have in its folder beside the dataset."""


class DatasetWriter:
    """Write a dataset one trajectory at a time; nothing is a dataset until ``finish`` has written its header.

    The folder is new, empty, or claimed for a dataset: then what an earlier writer left in it is written anew. As a
    context manager the writer closes its files and removes the raw rows when ``finish`` was not reached.
    """

    def __init__(
        self, path: Path | str, observation_dim: int, action_dim: int, dtype: str = "float32", achieved_dim: int = 0
    ) -> None:
        if dtype not in DTYPES:
            raise unknown("dtype", dtype, DTYPES)
        self._path = Path(path)
        self._dims = {"observation_dim": observation_dim, "action_dim": action_dim, "achieved_dim": achieved_dim}
        self._dtypes = {"observations": dtype, "actions": dtype, "rewards": "<f4", "returns_to_go": "<f4"}
        self._shapes: dict[str, tuple[int, ...]] = {
            "observations": (observation_dim,),
            "actions": (action_dim,),
            "rewards": (),
            "returns_to_go": (),
        }
        if achieved_dim:
            self._dtypes[ACHIEVED], self._shapes[ACHIEVED] = "<f4", (achieved_dim,)
        self._own_mark = _take(self._path)
        self._files: dict[str, BinaryIO] = {}
        try:
            for name in self._shapes:
                self._files[name] = open(self._path / f"{name}.bin", "wb")  # noqa: SIM115
        except OSError as error:
            raise disk_error(self._path, error) from error
        self._rows = 0
        self._index: dict[str, list[Any]] = {name: [] for name in INDEX_DTYPES}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for file in self._files.values():
            with suppress(OSError):  # the full disk that was reported already
                file.close()
        for name in self._files:
            (self._path / f"{name}.bin").unlink(missing_ok=True)
        if self._own_mark and not (self._path / METADATA).exists():
            clear(self._path, (INDEX, *(f"{name}.npy" for name in self._files)))

    def add(
        self,
        observations: Array,
        actions: Array,
        rewards: Array,
        final_observation: Array | None,
        *,
        task: int,
        quality: int,
        seed: int,
        terminated: bool = False,
        achieved: Array | None = None,
    ) -> None:
        """Append one trajectory: observations [T, S], actions [T, A], rewards [T], final_observation [S].

        The last may be None, not known, in all trajectories or in none. ``achieved`` is [T, D] if D is not 0.
        """
        number, steps = len(self._index["start"]), rewards.size
        if steps == 0:
            raise UserError(f"trajectory {number} has no steps")
        given = {"observations": observations, "actions": actions, "rewards": rewards, ACHIEVED: achieved}
        shapes = {name: (steps, *shape) for name, shape in self._shapes.items()}
        given["final_observation"], shapes["final_observation"] = final_observation, self._shapes["observations"]
        arrays = {name: array for name, array in given.items() if array is not None}
        self._check_given(number, set(arrays))
        for name, array in arrays.items():
            if array.shape != shapes[name]:
                raise UserError(f"trajectory {number}: {name} has shape {array.shape}, expected {shapes[name]}")
            if not np.isfinite(array).all():
                raise UserError(f"trajectory {number} has a non-finite number in its {name}")
        with np.errstate(over="ignore"):  # found below
            arrays["returns_to_go"] = returns_to_go(rewards)
            dtypes = {**self._dtypes, "final_observation": INDEX_DTYPES["final_observations"]}
            stored = {name: np.ascontiguousarray(array, dtype=dtypes[name]) for name, array in arrays.items()}
        for name, array in stored.items():  # 70000 is finite, and infinite as float16
            if not np.isfinite(array).all():
                raise UserError(f"trajectory {number} has a number in its {name} that {array.dtype} cannot hold")
        try:
            for name, file in self._files.items():
                file.write(stored[name].tobytes())
        except OSError as error:
            raise disk_error(self._path, error) from error
        entry = (self._rows, steps, task, quality, seed, terminated, stored.get("final_observation"))
        for name, value in zip(self._index, entry, strict=True):
            self._index[name].append(value)
        self._rows += steps

    def _check_given(self, number: int, given: set[str]) -> None:
        """What is optional is in all trajectories or in none."""
        if (ACHIEVED in given) != (ACHIEVED in self._shapes):
            told = "gives" if ACHIEVED in given else "does not give"
            raise UserError(f"trajectory {number} {told} {ACHIEVED}, for which the writer has {self._dims}")
        before = self._index["final_observations"]
        if before and (before[0] is not None) != ("final_observation" in given):
            raise UserError(f"trajectory {number}: the final observation is known in all trajectories or in none")

    def finish(self, metadata: dict[str, Any]) -> Dataset:
        """Put headers before the arrays, checksum everything, and write the dataset's header last.

        ``metadata`` has the ``suite``, the names of its ``qualities`` and whatever else is to be known of the data.
        """
        if not self._index["start"]:
            raise UserError("there are no trajectories to write")
        sizes = {"trajectories": len(self._index["start"]), "steps": self._rows}
        about = {**metadata, **self._dims, **sizes}
        check_metadata(self._path / METADATA, about)
        for name, file in self._files.items():
            try:
                file.close()  # writes what is still buffered
            except OSError as error:
                raise disk_error(self._path, error) from error
            self._finish_array(name)
        columns = {name: values for name, values in self._index.items() if values[0] is not None}
        write_arrays(self._path / INDEX, {n: np.array(values, INDEX_DTYPES[n]) for n, values in columns.items()})
        finish(self._path, DATASET, about, files_of(about))
        if self._own_mark:
            clear(self._path)
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


def _take(folder: Path) -> bool:
    """Make sure that a folder is there to be written; return whether the mark in it is the writer's own.

    Nothing is ever written over that might be somebody's: either the folder is marked as that of a dataset that is
    being made, or it has nothing in it but what a collection keeps beside.
    """
    own: dict[str, Any] = {}
    if (folder / METADATA).exists():
        raise UserError(f"{folder} already holds a dataset: {ELSEWHERE}")
    if not (folder / MARK).exists():
        claim(folder, DATASET, own, BESIDE)
        return True
    mark = read_json(folder / MARK, DATASET.name)
    ours = {MARK, *BESIDE, *FILES, *(f"{name}{end}" for name in (*FLAT, ACHIEVED) for end in (".bin", ".npy"))}
    strange = [each.name for each in folder.iterdir() if each.name not in ours and not each.name.startswith(".")]
    if mark.get("kind") != DATASET.name or strange:
        raise UserError(f"{folder} already holds something else: {ELSEWHERE}")
    return mark.get("run") == own
