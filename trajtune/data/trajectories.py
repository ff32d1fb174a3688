"""Trajectories as flat arrays: step ``t`` of trajectory ``i`` is row ``start[i] + t``."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trajtune.errors import UserError

Array = npt.NDArray[Any]

PER_STEP = ("observations", "actions", "rewards", "returns_to_go", "achieved")
PER_TRAJECTORY = ("start", "length", "task", "terminated", "final_observations")


@dataclass(frozen=True, repr=False)
class Trajectories:
    """N trajectories of M steps in all; the flat arrays may be memory-mapped and hold more than these N.

    The units are the environment's own; ``returns_to_go`` [t] is the undiscounted sum of rewards from t on.
    """

    observations: Array  # [M, S] float32 or float16
    actions: Array  # [M, A]
    rewards: Array  # [M] float32
    returns_to_go: Array  # [M] float32
    start: Array  # [N] int64
    length: Array  # [N] int64
    task: Array  # [N] int64
    terminated: Array  # [N] bool: ended by the environment, not by the time limit
    final_observations: Array | None = None  # [N, S] float32: the state after the last step; None: not known
    achieved: Array | None = None  # [M, D] float32: what relabelling needs of each step; None: not known

    def __len__(self) -> int:
        return len(self.start)

    def __repr__(self) -> str:
        few = np.unique(self.task)
        tasks = f"task {few[0]}" if len(few) == 1 else f"{len(few)} tasks"
        sizes = f"{self.observations.shape[1]} observations, {self.actions.shape[1]} actions"
        return f"Trajectories({len(self)} of {tasks}, {self.steps} steps, {sizes})"

    @property
    def steps(self) -> int:
        return int(self.length.sum())

    @property
    def returns(self) -> Array:
        """Undiscounted return of each trajectory, [N]."""
        return np.asarray(self.returns_to_go[self.start], np.float64)

    def subset(self, rows: Sequence[int] | Array) -> "Trajectories":
        """Return some of the trajectories without copying their steps."""
        picked = np.asarray(rows)
        each = {name: getattr(self, name) for name in PER_TRAJECTORY}
        some: dict[str, Any] = {name: None if array is None else array[picked] for name, array in each.items()}
        return replace(self, **some)

    def digest(self) -> str:
        """SHA-256 over names, types, shapes and values of the arrays, which must be in memory."""
        total = hashlib.sha256()
        for field in fields(self):
            if (array := getattr(self, field.name)) is not None:
                total.update(f"{field.name} {array.dtype.str} {array.shape}\n".encode())
                total.update(np.ascontiguousarray(array).tobytes())
        return total.hexdigest()

    def loaded(self) -> "Trajectories":
        """Return a copy in memory, float32, checked to be finite: for few-shot sets, not for pretraining data."""
        rows = np.concatenate([np.arange(s, s + n) for s, n in zip(self.start, self.length, strict=True)])
        which = np.repeat(np.arange(len(self)), self.length)
        found = {name: (getattr(self, name), rows, which) for name in PER_STEP}
        found["final_observations"] = (self.final_observations, np.arange(len(self)), np.arange(len(self)))
        copies: dict[str, Any] = {}
        for name, (array, picked, owner) in found.items():
            if array is None:
                continue
            copies[name] = np.asarray(array[picked], np.float32)
            bad = np.argwhere(~np.isfinite(copies[name]))
            if len(bad):
                raise UserError(
                    f"the data has a non-finite number in {name} of trajectory {owner[bad[0][0]]} of the selection"
                )
        start = np.concatenate([[0], np.cumsum(self.length)[:-1]]).astype(np.int64)
        return replace(self, **copies, start=start)


def returns_to_go(rewards: Array) -> Array:
    """Sum of rewards from each step on, [T] -> [T] float32, accumulated in float64."""
    return np.cumsum(rewards[::-1].astype(np.float64))[::-1].astype(np.float32)
