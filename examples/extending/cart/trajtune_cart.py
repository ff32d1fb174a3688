"""A cart on a line (a double integrator) that must come to rest at a place: a suite of three tasks, in NumPy.

Nothing of it can be relabelled, one task has no reference returns, and the observation does not say where to go.
"""

from typing import Any

import numpy as np

from trajtune.seeds import stream
from trajtune.suites import Entry
from trajtune.suites.base import Array, Env, Suite, Task
from trajtune.suites.scripted import Scripted, closed_form

HORIZON = 40
DT = 0.1  # seconds a step
FORCE = 2.0  # the largest acceleration
PLACES = (-1.0, 1.0, 0.5)
REFERENCES = {0: {"random": -43.3, "expert": -10.2}, 1: {"random": -46.8, "expert": -10.0}}
"""Mean returns of 100 episodes of uniform actions and of the script. Task 2 has none: what it gains stays raw."""


class CartEnv:
    """Observation [2]: position and velocity. Action [1] in [-1, 1]: the acceleration in units of ``FORCE``."""

    def __init__(self, place: float) -> None:
        self._place, self._t, self._state = place, 0, np.zeros(2)
        self._rng = stream(0, "cart")

    def reset(self, *, seed: int | None = None) -> tuple[Array, dict[str, Any]]:
        if seed is not None:
            self._rng = stream(seed, "cart")
        self._t, self._state = 0, self._rng.uniform(-0.2, 0.2, 2)
        return self._state.copy(), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        force = float(np.clip(action, -1.0, 1.0)[0])
        position, velocity = self._state
        velocity += DT * FORCE * force
        position += DT * velocity
        self._state, self._t = np.array([position, velocity]), self._t + 1
        distance = abs(position - self._place)
        reward = -distance - 0.1 * force**2
        success = distance < 0.1 and abs(velocity) < 0.2
        return self._state.copy(), float(reward), False, self._t >= HORIZON, {"success": success}

    def close(self) -> None:
        pass


def _make(task: Task) -> Env:
    return CartEnv(task.goal[0])


def _brake_in_time(observations: Array, goals: Array) -> Array:
    """The expert: a spring to the goal with critical damping, [n, 2] and [n, 1] -> [n, 1]."""
    position, velocity = observations[:, :1], observations[:, 1:]
    return np.clip(2.0 * (goals - position) - 2.0 * velocity, -1.0, 1.0)


def cart() -> Suite:
    """Two places to train on, a third held out."""
    return Suite(
        name="cart",
        summary="a cart comes to rest at a place on a line",
        observation_dim=2,
        action_dim=1,
        horizons=HORIZON,
        tasks=tuple(Task(i, f"at {x:+.1f}", {"place": x}, (x,)) for i, x in enumerate(PLACES)),
        train=(0, 1),
        test=(2,),
        make=_make,
        metric="success",
        has_success=True,
        experts={"scripted": Scripted(closed_form(_brake_in_time), summary="a damped spring")},
        references=REFERENCES,
    )


CART = Entry("a cart comes to rest at a place on a line", "trajtune_cart:cart")
