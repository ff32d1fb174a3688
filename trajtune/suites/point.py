"""A NumPy point robot that must reach a goal on a circle: the whole pipeline in seconds, without a simulator."""

from typing import Any

import numpy as np
from gymnasium.spaces import Box

from trajtune.seeds import stream
from trajtune.suites.base import Array, Env, Relabel, Suite, Task
from trajtune.suites.scripted import Scripted, closed_form

HORIZON = 30
SPEED = 0.1  # the longest step along one axis
REACHED = 0.1  # success: at most this far from the goal


def distance_reward(achieved: Array, action: Array, goal: Array) -> Array:
    """-|position - goal|: 0 is best."""
    return -np.sqrt(np.sum(np.square(achieved - goal), axis=-1))


class PointEnv:
    """Observation [2] and achieved [2]: the position. Action [2] in [-1, 1]: the step in units of ``SPEED``."""

    def __init__(self, goal: tuple[float, ...]) -> None:
        self.observation_space = Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = Box(-1.0, 1.0, (2,), np.float32)
        self._goal, self._t, self._position = np.asarray(goal), 0, np.zeros(2)
        self._rng = stream(0, "point")

    def reset(self, *, seed: int | None = None) -> tuple[Array, dict[str, Any]]:
        if seed is not None:
            self._rng = stream(seed, "point")
        self._t, self._position = 0, self._rng.uniform(-0.1, 0.1, 2)
        return self._position.copy(), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        self._position = self._position + SPEED * np.clip(action, -1.0, 1.0)
        self._t += 1
        reward = float(distance_reward(self._position, action, self._goal))
        info = {"achieved": self._position.copy(), "success": reward >= -REACHED}
        return self._position.copy(), reward, False, self._t >= HORIZON, info

    def close(self) -> None:
        pass


def _make(task: Task) -> Env:
    return PointEnv(task.goal)


def _unit(angle: Array) -> Array:
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _random_goals(rng: np.random.Generator, n: int) -> Array:
    return _unit(rng.uniform(0.0, 2 * np.pi, n))


def _nearby_goals(rng: np.random.Generator, achieved: Array) -> Array:
    return _unit(np.arctan2(achieved[:, 1], achieved[:, 0]) + rng.normal(0.0, 0.2, len(achieved)))


def _straight(observations: Array, goals: Array) -> Array:
    """The expert: the longest step towards the goal that does not overshoot it."""
    return np.clip((goals - observations) / SPEED, -1.0, 1.0)


def point() -> Suite:
    """Sixteen goals on the unit circle, four of them held out."""
    angles = 2 * np.pi * np.arange(16) / 16
    test = (2, 5, 9, 14)
    return Suite(
        name="point",
        summary="a NumPy point robot reaches a goal on a circle (for tests)",
        observation_dim=2,
        action_dim=2,
        horizons=HORIZON,
        tasks=tuple(
            Task(i, f"{np.degrees(a):.1f} degrees", {"angle": float(a)}, (float(np.cos(a)), float(np.sin(a))))
            for i, a in enumerate(angles)
        ),
        train=tuple(i for i in range(16) if i not in test),
        test=test,
        make=_make,
        has_success=True,
        relabel=Relabel(distance_reward, _random_goals, _nearby_goals),
        experts={"scripted": Scripted(closed_form(_straight), summary="straight to the goal")},
    )
