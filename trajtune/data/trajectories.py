"""Trajectories as flat arrays: step ``t`` of trajectory ``i`` is row ``start[i] + t``."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from trajtune.errors import UserError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
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

    def __len__(self) -> int:
        return len(self.start)

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
        return replace(
            self,
            start=self.start[picked],
            length=self.length[picked],
            task=self.task[picked],
            terminated=self.terminated[picked],
        )

    def digest(self) -> str:
        """SHA-256 over the arrays, which must be in memory: identifies a few-shot set."""
        total = hashlib.sha256()
        for field in fields(self):
            total.update(np.ascontiguousarray(getattr(self, field.name)).tobytes())
        return total.hexdigest()

    def loaded(self) -> "Trajectories":
        """Return a copy in memory, float32, checked to be finite: for few-shot sets, not for pretraining data."""
        rows = np.concatenate([np.arange(s, s + n) for s, n in zip(self.start, self.length, strict=True)])
        arrays = {
            name: np.asarray(getattr(self, name)[rows], np.float32)
            for name in ("observations", "actions", "rewards", "returns_to_go")
        }
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                bad = int(np.argwhere(~np.isfinite(array))[0][0])
                which = int(np.searchsorted(np.cumsum(self.length), bad, side="right"))
                raise UserError(f"the data has a non-finite number in {name} of trajectory {which} of the selection")
        return replace(self, **arrays, start=np.concatenate([[0], np.cumsum(self.length)[:-1]]).astype(np.int64))


def from_episodes(episodes: Sequence[dict[str, Array]], task: int = 0) -> Trajectories:
    """Build trajectories from one dict an episode with ``observations`` [T, S], ``actions`` [T, A], ``rewards`` [T].

    For one's own recordings; an optional ``terminated`` says that the environment ended the episode.
    """
    if not episodes:
        raise UserError("there are no trajectories: record at least one")
    for i, episode in enumerate(episodes):
        _check_episode(i, episode, episodes[0])
    length = np.array([len(e["rewards"]) for e in episodes], np.int64)
    return Trajectories(
        observations=np.concatenate([np.asarray(e["observations"], np.float32) for e in episodes]),
        actions=np.concatenate([np.asarray(e["actions"], np.float32) for e in episodes]),
        rewards=np.concatenate([np.asarray(e["rewards"], np.float32) for e in episodes]),
        returns_to_go=np.concatenate([returns_to_go(np.asarray(e["rewards"])) for e in episodes]),
        start=np.concatenate([[0], np.cumsum(length)[:-1]]).astype(np.int64),
        length=length,
        task=np.full(len(episodes), task, np.int64),
        terminated=np.array([bool(e.get("terminated", False)) for e in episodes]),
    ).loaded()


def _check_episode(number: int, episode: dict[str, Array], first: dict[str, Array]) -> None:
    dims = {"observations": 2, "actions": 2, "rewards": 1}
    missing = [name for name in dims if name not in episode]
    if missing:
        raise UserError(f"trajectory {number} has no {' and no '.join(missing)}")
    shapes = {name: np.shape(episode[name]) for name in dims}
    for name, shape in shapes.items():
        if len(shape) != dims[name] or shape[1:] != np.shape(first[name])[1:]:
            wanted = "[T]" if name == "rewards" else "[T, size], the same size in every trajectory"
            raise UserError(f"trajectory {number}: {name} has shape {shape}, expected {wanted}")
    lengths = {name: shape[0] for name, shape in shapes.items()}
    if len(set(lengths.values())) != 1 or lengths["rewards"] == 0:
        raise UserError(f"trajectory {number} needs as many observations as actions and rewards, got {lengths}")


def returns_to_go(rewards: Array) -> Array:
    """Sum of rewards from each step on, [T] -> [T] float32, accumulated in float64."""
    return np.cumsum(rewards[::-1].astype(np.float64))[::-1].astype(np.float32)
