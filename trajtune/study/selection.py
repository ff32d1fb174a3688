"""What a study declares of options that are to be chosen first: among which, and on which tasks. Without torch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trajtune.data.setting import Setting
from trajtune.errors import UserError
from trajtune.suites import get_suite
from trajtune.training.config import TrainConfig

Sampler = Literal["grid", "random", "tpe"]
RATE, STD, TUNING = "learning_rate", "std", "tuning."
"""Names in a space that are no option of an algorithm: two of the recipe's own, and what a tuning's begin with."""


@dataclass(frozen=True)
class HeldOut:
    """Training tasks of a suite, and an agent that was pretrained without them. A test task cannot be one."""

    suite: str
    tasks: tuple[int, ...]
    agent: Path
    data: Path

    def __post_init__(self) -> None:
        known = get_suite(self.suite)
        if not self.tasks:
            raise UserError(f"options of {self.suite} are to be chosen on no task at all")
        for task in self.tasks:
            if known.task(task).index in known.test:
                raise UserError(f"task {task} of {self.suite} is a test task: nothing is chosen on those")


@dataclass(frozen=True)
class Choice:
    """What an option may be: one of several values, or any number from ``low`` to ``high``."""

    grid: tuple[Any, ...] = ()
    low: float | int | None = None
    high: float | int | None = None
    log: bool = False
    """Whether it is the number's order that is uniform."""

    def __post_init__(self) -> None:
        ranged = self.low is not None and self.high is not None
        if bool(self.grid) == ranged or (self.low is None) != (self.high is None):
            raise UserError("a choice has either a grid of values, or low and high")
        if ranged and not self.low < self.high:  # type: ignore[operator]
            raise UserError(f"low must be below high, got {self.low} and {self.high}")
        if self.log and not (ranged and self.low > 0):  # type: ignore[operator]
            raise UserError("log needs a range of positive numbers")
        if odd := [each for each in self.grid if not isinstance(each, str | int | float | bool | None)]:
            raise UserError(f"values of a grid are numbers, words, true, false or null, got {odd[0]!r}"[:200])


@dataclass(frozen=True)
class Space:
    """Algorithms under tunings, every pair on its own, and what each option of theirs may be."""

    algorithms: tuple[str, ...]
    tunings: tuple[str, ...]
    options: Mapping[str, Choice]
    """By name: an option of the algorithm, ``learning_rate``, ``std``, or one of the tuning's, ``tuning.NAME``."""

    def __post_init__(self) -> None:
        if not (self.algorithms and self.tunings and self.options):
            raise UserError("a space needs at least one algorithm, one tuning and one option")


@dataclass(frozen=True)
class Selection:
    """How options are chosen before the study begins: the best mean over tasks, settings and seeds.

    Every algorithm x tuning of the spaces is then a method of the study, labelled ``chosen``.
    """

    held_out: tuple[HeldOut, ...]
    spaces: tuple[Space, ...]
    sampler: Sampler = "grid"
    """All of the grid, or (Optuna's) random or tpe."""
    trials: int = 20
    """Of each algorithm x tuning; a grid has as many as it has."""
    prune: bool = True
    """Judge by one seed after another, and leave out what is below the median of those before (Optuna's). No grid."""
    settings: tuple[Setting, ...] = ()
    """Without any, the study's."""
    seeds: tuple[int, ...] = (100, 101, 102)
    episodes: int = 10
    training: TrainConfig | None = None
    """None: the study's."""
    seed: int = 0
    """Of the sampler."""

    def __post_init__(self) -> None:
        if not (self.held_out and self.spaces and self.seeds):
            raise UserError("a selection needs at least one suite with held-out tasks, one space and one seed")
        if len({each.suite for each in self.held_out}) < len(self.held_out):
            raise UserError("a selection names a suite twice: put its held-out tasks into one list")
        arms = [(algorithm, tuning) for algorithm, tuning, _ in self.arms()]
        if twice := next((arm for arm in arms if arms.count(arm) > 1), None):
            raise UserError(f"a selection's spaces name {' x '.join(twice)} twice")
        if self.trials < 1:
            raise UserError(f"trials must be at least 1, got {self.trials}")
        if self.sampler == "grid":
            for space in self.spaces:
                for name, choice in space.options.items():
                    if not choice.grid:
                        raise UserError(f"sampler grid needs a grid for {name}; random and tpe take ranges as well")

    def arms(self) -> Iterator[tuple[str, str, Space]]:
        """Every algorithm x tuning whose options are chosen."""
        for space in self.spaces:
            for algorithm in space.algorithms:
                for tuning in space.tunings:
                    yield algorithm, tuning, space
