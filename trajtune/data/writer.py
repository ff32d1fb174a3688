"""Writing a dataset, one trajectory at a time."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np

from trajtune.data.store import (
    DTYPES,
    FILES,
    FLAT,
    FORMAT,
    INDEX,
    INDEX_DTYPES,
    METADATA,
    VERSION,
    Dataset,
    check_metadata,
)
from trajtune.data.trajectories import Array, returns_to_go
from trajtune.errors import UserError, unknown
from trajtune.files import disk_error, sha256, write_arrays, write_json


class DatasetWriter:
    """Write a dataset one trajectory at a time; nothing is a dataset until ``finish`` has written its metadata.

    As a context manager it closes its files and removes the raw rows when ``finish`` was not reached.
    """

    def __init__(self, path: Path | str, observation_dim: int, action_dim: int, dtype: str = "float32") -> None:
        if dtype not in DTYPES:
            raise unknown("dtype", dtype, DTYPES)
        self._path = Path(path)
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
            self._path.mkdir(parents=True, exist_ok=True)
            self._files = {name: open(self._path / f"{name}.bin", "wb") for name in FLAT}  # noqa: SIM115
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
        number, steps = len(self._index["start"]), rewards.size
        if steps == 0:
            raise UserError(f"trajectory {number} has no steps")
        arrays = {"observations": observations, "actions": actions, "rewards": rewards}
        shapes = {name: (steps, *self._shapes[name]) for name in arrays}
        arrays["final_observation"], shapes["final_observation"] = final_observation, self._shapes["observations"]
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
        entry = (self._rows, steps, task, quality, seed, terminated, stored["final_observation"])
        for name, value in zip(self._index, entry, strict=True):
            self._index[name].append(value)
        self._rows += steps

    def finish(self, metadata: dict[str, Any]) -> Dataset:
        """Put headers before the arrays, checksum everything, and write the metadata last."""
        if not self._index["start"]:
            raise UserError("there are no trajectories to write")
        for name, file in self._files.items():
            try:
                file.close()  # writes what is still buffered
            except OSError as error:
                raise disk_error(self._path, error) from error
            self._finish_array(name)
        write_arrays(self._path / INDEX, {n: np.array(values, INDEX_DTYPES[n]) for n, values in self._index.items()})
        files = {}
        for name in FILES:
            files[name] = {"bytes": (self._path / name).stat().st_size, "sha256": sha256(self._path / name)}
        head = {"format": FORMAT, "version": VERSION}
        sizes = {"trajectories": len(self._index["start"]), "steps": self._rows}
        complete = {**head, **metadata, **sizes, "files": files}
        check_metadata(self._path / METADATA, complete)
        write_json(self._path / METADATA, complete)
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
