"""What a suite and a task are: a family of tasks that share a body and differ in a goal."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from trajtune.errors import UserError

Array = npt.NDArray[Any]


class Env(Protocol):
    """The part of Gymnasium's API that suites provide. ``info["achieved"]`` is what the goal is compared with."""

    def reset(self, *, seed: int | None = None) -> tuple[Array, dict[str, Any]]: ...

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Task:
    """One member of a suite. ``parameters`` is what it is in words; ``goal`` [G] is how rewards and experts see it."""

    index: int
    name: str
    parameters: dict[str, float]
    goal: tuple[float, ...]


@dataclass(frozen=True)
class Suite:
    """A family of tasks with one body.

    The reward is a known function of what was achieved, the action and the goal, so that any stored transition can
    be relabelled exactly for any task:

    * ``reward(achieved [..., D], action [..., A], goal [..., G]) -> [...]``
    * ``random_goals(rng, n) -> [n, G]``: the distribution the tasks come from
    * ``nearby_goals(rng, achieved [n, D]) -> [n, G]``: goals that ``achieved`` would (nearly) meet
    """

    name: str
    summary: str
    observation_dim: int
    action_dim: int
    horizon: int
    tasks: tuple[Task, ...]
    train: tuple[int, ...]
    test: tuple[int, ...]
    make: Callable[[Task], Env] = field(repr=False)
    reward: Callable[[Array, Array, Array], Array] = field(repr=False)
    random_goals: Callable[[np.random.Generator, int], Array] = field(repr=False)
    nearby_goals: Callable[[np.random.Generator, Array], Array] = field(repr=False)
    scripted: Callable[[Array, Array], Array] | None = field(default=None, repr=False)
    """A closed-form expert ``(observations [n, S], goals [n, G]) -> actions [n, A]``, where there is one."""
    expert_updates: int = 0
    """Gradient steps that a SAC expert of this suite needs."""
    has_success: bool = False
    variant_of: str | None = None

    def task(self, index: int) -> Task:
        if not 0 <= index < len(self.tasks):
            raise UserError(f"suite {self.name} has no task {index}: choose 0 to {len(self.tasks) - 1}")
        return self.tasks[index]

    def select(self, spec: str) -> list[int]:
        """Return the task numbers that ``all``, ``train``, ``test`` or a list such as ``0,3,7`` stands for."""
        named = {"all": range(len(self.tasks)), "train": self.train, "test": self.test}
        if spec in named:
            return list(named[spec])
        try:
            indices = [int(part) for part in spec.split(",")]
        except ValueError:
            raise UserError(f"tasks {spec!r} is neither all, train, test nor a list such as 0,3,7") from None
        return [self.task(index).index for index in dict.fromkeys(indices)]
