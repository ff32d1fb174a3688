"""A suite that is everything ours are not: two bodies, hidden goals, ends of its own, an expert that remembers."""

from collections.abc import Callable
from typing import Any

import numpy as np

from trajtune.seeds import stream
from trajtune.suites.base import Array, Env, Suite, Task
from trajtune.suites.scripted import Scripted

WAIT = 3  # steps that the expert lets pass in every episode


class Walker:
    """Observation [x, goal]: walks on a line and ends where the goal is. Says what was achieved."""

    speed, reach = 0.2, 0.1

    def __init__(self, task: Task) -> None:
        self.goal, self.x, self.rng = task.goal[0], 0.0, stream(0, "walker")

    def observe(self) -> Array:
        return np.array([self.x, self.goal])

    def reset(self, *, seed: int | None = None) -> tuple[Array, dict[str, Any]]:
        self.rng = self.rng if seed is None else stream(seed, "walker")
        self.x = self.rng.uniform(-0.5, 0.5)
        return self.observe(), {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        self.x += self.speed * float(np.clip(action[0], -1.0, 1.0))
        off = abs(self.x - self.goal)
        return self.observe(), -off, bool(off < self.reach), False, self.say()

    def say(self) -> dict[str, Any]:
        return {"achieved": np.array([self.x])}

    def close(self) -> None:
        pass


class Skater(Walker):
    """Observation [x, goal, velocity]: another body, which slides, and says nothing of what it achieved."""

    speed, reach, velocity = 0.0, 0.2, 0.0

    def reset(self, *, seed: int | None = None) -> tuple[Array, dict[str, Any]]:
        self.velocity = 0.0
        return super().reset(seed=seed)

    def observe(self) -> Array:
        return np.array([self.x, self.goal, self.velocity])

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        self.velocity = 0.5 * self.velocity + 0.2 * float(np.clip(action[0], -1.0, 1.0))
        self.x += self.velocity
        return super().step(action)

    def say(self) -> dict[str, Any]:
        return {}


def make(task: Task) -> Env:
    return (Walker, Skater)[task.index](task)


def patient(task: Task, n: int) -> Callable[[Array], Array]:
    """Wait, then go: it counts the steps of its episodes, and sees the goal that the data do not show."""
    steps = np.zeros(n)

    def script(observations: Array) -> Array:
        steps[:] += 1
        assert observations.shape == (n, (2, 3)[task.index]) and steps[0] <= 20
        towards = np.sign(observations[:, 1] - observations[:, 0]) * (steps > WAIT)
        return towards[:, None]

    return script


def walkers() -> Suite:
    return Suite(
        name="walkers",
        summary="two bodies on a line",
        observation_dim=1,
        action_dim=1,
        horizons=(20, 15),
        tasks=(Task(0, "walk", goal=(2.0,)), Task(1, "skate", goal=(-1.5,))),
        train=(0,),
        test=(1,),
        make=make,
        view=lambda observation: observation[:1],
        experts={"patient": Scripted(patient, noise=(3.0, 1.0, 0.3, 0.0))},
    )
