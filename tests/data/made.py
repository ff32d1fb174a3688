"""Tiny trajectories whose observations say where they come from."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch

from trajtune.data.episodes import from_episodes
from trajtune.data.trajectories import Trajectories
from trajtune.types import Prompt

LENGTHS = (1, 7, 2, 3, 12)
TASKS = (2, 2, 5, 5, 5)
TERMINATED = (True, False, True, False, True)


def episode(number: int, task: int, length: int, terminated: bool, final: bool = False) -> dict[str, Any]:
    """Observations are (task, trajectory, step), all from 1 on, because padding is zero."""
    t = np.arange(length + final)
    s = np.arange(length)
    return {
        "observations": np.stack([np.full(len(t), task), np.full(len(t), number + 1), t + 1], axis=1),
        "actions": np.stack([(number + 1) / 64 + s / 512, -(1.0 + s) / 64], axis=1),
        "rewards": np.random.default_rng(number).normal(size=length),
        "terminated": terminated,
    }


def data(lengths: tuple[int, ...] = LENGTHS, tasks: tuple[int, ...] = TASKS, final: bool = False) -> Trajectories:
    ended = (TERMINATED * len(lengths))[: len(lengths)]
    kinds = zip(lengths, tasks, ended, strict=True)
    made = from_episodes([episode(i, task, n, end, final) for i, (n, task, end) in enumerate(kinds)])
    return replace(made, task=np.array(tasks))


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def same(left: Prompt | None, right: Prompt | None) -> bool:
    if left is None or right is None:
        return left is right
    return all(torch.equal(getattr(left, f.name), getattr(right, f.name)) for f in fields(Prompt))
