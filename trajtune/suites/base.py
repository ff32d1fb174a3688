"""What a suite and a task are. What only some suites know is a capability: None where it is missing, never a duty."""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from trajtune.errors import UserError
from trajtune.progress import Progress

Array = npt.NDArray[Any]
Metric = Literal["return", "success"]
SPLITS = ("all", "train", "test")
"""Words for tasks of a suite."""
RANGE = re.compile(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", re.ASCII)
"""A number of a task, or the first and the last of some."""


def written_out(spec: str) -> Iterator[str]:
    """Yield the parts of a list of tasks, those of a range one by one, as they are asked for."""
    for part in spec.split(","):
        if (found := RANGE.fullmatch(part)) is None or not found[2]:
            yield part
        elif (first := int(found[1])) > (last := int(found[2])):
            raise UserError(f"tasks {part} begin behind their end")
        else:
            yield from map(str, range(first, last + 1))


class Env(Protocol):
    """The part of Gymnasium's API that suites provide: actions in [-1, 1], an end at the task's horizon.

    ``info["achieved"]`` [D], what a goal is compared with, and ``info["success"]``, are there where the suite says so.
    """

    def reset(self, *, seed: int | None = None) -> tuple[Array, dict[str, Any]]: ...

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Task:
    """One member of a suite. ``parameters`` is what it is in words; ``goal`` [G] is how rewards and experts see it."""

    index: int
    name: str
    parameters: Mapping[str, float] = field(default_factory=dict)
    goal: tuple[float, ...] = ()


@dataclass(frozen=True)
class Relabel:
    """Exact relabelling: all tasks share one body, and the reward is a known function of what was achieved.

    Every stored transition can then be given the reward of any task. Environments report ``info["achieved"]``.
    """

    reward: Callable[[Array, Array, Array], Array]
    """(achieved [..., D], action [..., A], goal [..., G]) -> rewards [...]."""
    random_goals: Callable[[np.random.Generator, int], Array]
    """(rng, n) -> [n, G]: the distribution the tasks come from."""
    nearby_goals: Callable[[np.random.Generator, Array], Array]
    """(rng, achieved [n, D]) -> [n, G]: goals that ``achieved`` would (nearly) meet."""


Act = Callable[[Array, Array], Array]
"""(observations [n, R] as the environment gives them, noise [n, A] standard normal) -> actions [n, A] in [-1, 1].

Zero noise asks for what the policy does when it is deployed. Row i stays the same episode from its first step on.
"""
Acting = Callable[[int], Act]
"""Begin n episodes: everything an ``Act`` keeps of an episode starts here."""


class Rung(NamedTuple):
    """A policy on the way from random to expert: its name for people, and what its source finds it by."""

    name: str
    key: str
    sampled: bool = False
    """Whether noise belongs to it even where it acts as the expert: else the expert acts by its mean."""


class ExpertSource(Protocol):
    """Where a suite's experts come from: a script, actors that ship with it, training. Must not hold open files."""

    @property
    def summary(self) -> str:
        """One line for those who choose."""

    def check(self, suite: "Suite", qualities: Sequence[str], updates: int) -> None:
        """Raise a ``UserError`` if this source cannot give what is wanted; must cost nothing.

        ``updates`` is 0 where neither the suite nor who asks has named a number.
        """

    def ladders(
        self, suite: "Suite", tasks: Sequence[int], folder: Path, updates: int, seed: int, progress: Progress
    ) -> dict[int, list[Rung]]:
        """Prepare what has to be prepared in ``folder`` (of this source alone), and go on where that stands.

        Return the rungs of every task, the weakest first; the last is the expert. Without rungs there is no expert.
        """

    def acting(self, suite: "Suite", task: int, rung: Rung) -> Acting:
        """Return the policy of a rung, in whichever process it is asked for."""


def same(observation: Array) -> Array:
    """Return the observation as it is."""
    return observation


@dataclass(frozen=True)
class Suite:
    """A family of tasks. The first fields are what a suite must have, the others what it may know beyond that."""

    name: str
    summary: str
    observation_dim: int
    """Of what agent and store see: S."""
    action_dim: int
    horizons: int | tuple[int, ...]
    """Steps of the longest episode: one number for all tasks, or one a task. Ask ``horizon``."""
    tasks: tuple[Task, ...] = field(repr=False)
    train: tuple[int, ...]
    test: tuple[int, ...]
    make: Callable[[Task], Env] = field(repr=False)
    """Each task may have a body of its own."""
    metric: Metric = "return"
    """What a score of this suite is first of all."""
    view: Callable[[Array], Array] = field(default=same, repr=False)
    """The part of one observation [R] that agent and store see, [S]; experts see all of it."""
    has_success: bool = False
    """Whether ``info["success"]`` says, at every step, if the goal is met."""
    relabel: Relabel | None = field(default=None, repr=False)
    experts: Mapping[str, ExpertSource] = field(default_factory=dict, repr=False)
    """Experts of the suite's own, the best choice first. Training needs no mention: it is open to every suite."""
    expert_updates: int = 0
    """Gradient steps that a SAC expert of this suite needs; 0 is not known."""
    references: Mapping[int, Mapping[str, float]] = field(default_factory=dict, repr=False)
    """{task: {"random": mean return, "expert": mean return}} for looking up. A dataset carries its own."""
    variant_of: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    """What decides numbers and changes outside this package, such as {"metaworld": "3.1.1", "reward": "v2"}.

    It stands in the header of every dataset; what was made with another is never mixed with what is made now.
    """

    def __post_init__(self) -> None:
        count = len(self.tasks)
        if count == 0 or [task.index for task in self.tasks] != list(range(count)):
            raise UserError(f"suite {self.name}: tasks must be numbered from 0, and there must be one")
        if odd := sorted({*self.train, *self.test} - set(range(count))):
            raise UserError(f"suite {self.name}: its splits name task {odd[0]}, which it does not have")
        lengths = (self.horizons,) if isinstance(self.horizons, int) else self.horizons
        if min(lengths, default=0) < 1 or (lengths is self.horizons and len(lengths) != count):
            raise UserError(f"suite {self.name}: horizons must be a number from 1, or one for each of {count} tasks")
        if self.metric == "success" and not self.has_success:
            raise UserError(f"suite {self.name}: its metric is success, but has_success says that no one reports it")

    def horizon(self, task: int) -> int:
        """Return the longest episode of a task, in steps."""
        return self.horizons if isinstance(self.horizons, int) else self.horizons[task]

    def check_versions(self, found: Mapping[str, str], what: object) -> None:
        """Raise a ``UserError`` if data say that they were made with other versions."""
        for name, version in self.versions.items():
            if found.get(name, version) != version:
                made = f"{what} was made with {name} {found[name]}"
                raise UserError(f"{made}, suite {self.name} is of {name} {version}: collect it anew")

    @property
    def longest(self) -> int:
        """The longest episode of any task: what an agent of this suite must be able to count to."""
        return self.horizons if isinstance(self.horizons, int) else max(self.horizons)

    def task(self, index: int) -> Task:
        """Return a task; a ``UserError`` says which numbers there are."""
        if not 0 <= index < len(self.tasks):
            raise UserError(f"suite {self.name} has no task {index}: choose 0 to {len(self.tasks) - 1}")
        return self.tasks[index]

    def select(self, spec: str) -> list[int]:
        """Return the task numbers that ``all``, ``train``, ``test`` or a list such as ``0,3,7`` stands for.

        ``test:2`` is the first two of the test tasks. In a list a task's name may stand for its number, and 4-7 for
        4,5,6,7.
        """
        named = dict(zip(SPLITS, (range(len(self.tasks)), self.train, self.test), strict=True))
        name, colon, first = spec.partition(":")
        if name in named and (not colon or (first.isdecimal() and int(first) > 0)):
            return list(named[name])[: int(first) if colon else None]
        names = {task.name: task.index for task in self.tasks}
        try:
            parts = (n for part in spec.split(",") for n in ((part,) if part in names else written_out(part)))
            indices = [names[part] if part in names else self.task(int(part)).index for part in parts]
        except ValueError:
            odd = next((part for part in spec.split(",") if part not in names and not RANGE.fullmatch(part)), "")
            meant = "".join(f"; did you mean {near}?" for near in difflib.get_close_matches(odd, names, 1, 0.8))
            raise UserError(
                f"tasks {spec!r} is neither all, train, test nor a list such as 0,3,7 or 4-7{meant}"
            ) from None
        return list(dict.fromkeys(indices))
