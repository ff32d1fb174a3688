"""Where experts come from: what the suite brings, and what is open to every suite that can do what it takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from trajtune.errors import UserError
from trajtune.experts.actors import random_actor, sac_actor
from trajtune.experts.sac import WANTED, SACConfig, train_expert
from trajtune.experts.shipped import shipped_with
from trajtune.progress import Progress
from trajtune.suites.base import Acting, ExpertSource, Rung, Suite


def sources_of(suite: Suite) -> dict[str, ExpertSource]:
    """Return the sources of a suite by name, the best choice first: its own, and those it has the capabilities for."""
    found = dict(suite.experts)
    if (shipped := shipped_with(suite)) is not None:
        found.setdefault("shipped", shipped)
    if suite.relabel is not None:
        found.setdefault("goal-conditioned", GoalConditioned())
    found.setdefault("per-task", PerTask())
    found.setdefault("random", NoExpert())
    return found


def updates_of(suite: Suite, source: ExpertSource, asked: int) -> int:
    """Return the updates asked for, or for 0 the suite's own number where the source trains; 0 is not known."""
    return asked or (suite.expert_updates if getattr(source, "trains", False) else 0)


class _Trained:
    """What sources that train SAC have in common."""

    trains = True

    def check(self, suite: Suite, qualities: Sequence[str], updates: int) -> None:
        """Ask for the extra, and for a number of updates."""
        _check_training(suite, updates)

    def acting(self, suite: Suite, task: int, rung: Rung) -> Acting:
        """Return a saved actor under the goal of a task."""
        return sac_actor(Path(rung.key), suite.task(task).goal)


@dataclass(frozen=True)
class GoalConditioned(_Trained):
    """One SAC for all tasks, which sees the goal and learns from every transition under other goals, too."""

    summary: str = "one SAC for all tasks, with exact relabelling"

    def ladders(
        self, suite: Suite, tasks: Sequence[int], folder: Path, updates: int, seed: int, progress: Progress
    ) -> dict[int, list[Rung]]:
        """Train, or go on; every task has the same rungs."""
        stage = "training the goal-conditioned expert (updates)"
        found = train_expert(suite, None, SACConfig(updates), folder, seed, progress, stage)
        return {task: _rungs(found) for task in tasks}


@dataclass(frozen=True)
class PerTask(_Trained):
    """One SAC a task, on the environment's own reward: the paper's protocol, and all that an unknown reward allows."""

    summary: str = "one SAC a task"
    keep_replay: bool = False
    """Whether what they lived through as they learned stays beside them."""

    def ladders(
        self, suite: Suite, tasks: Sequence[int], folder: Path, updates: int, seed: int, progress: Progress
    ) -> dict[int, list[Rung]]:
        """Train one expert after another, or go on with the one that was stopped."""
        config, found = SACConfig(updates, keep_replay=self.keep_replay), {}
        for number, task in enumerate(tasks, 1):
            stage, where = (
                f"training expert {number} of {len(tasks)}, task {task} (updates)",
                folder / f"task-{task:03d}",
            )
            found[task] = _rungs(train_expert(suite, task, config, where, seed, progress, stage))
        return found


@dataclass(frozen=True)
class NoExpert:
    """No expert at all: for data of the quality ``random``, at no cost."""

    summary: str = "no expert: only data of the quality random"

    def check(self, suite: Suite, qualities: Sequence[str], updates: int) -> None:
        """There is nothing between random and expert, nor an expert."""
        if odd := [quality for quality in qualities if quality != "random"]:
            raise UserError(f"experts random leave no data of quality {odd[0]}: collect the quality random")

    def ladders(
        self, suite: Suite, tasks: Sequence[int], folder: Path, updates: int, seed: int, progress: Progress
    ) -> dict[int, list[Rung]]:
        """Return ladders without rungs."""
        return {task: [] for task in tasks}

    def acting(self, suite: Suite, task: int, rung: Rung) -> Acting:
        """Return the random policy."""
        return random_actor


def _check_training(suite: Suite, updates: int) -> None:
    if not updates:
        raise UserError(f"suite {suite.name} does not say how long an expert must train: give a number of updates")
    if find_spec("sbx") is None:
        raise UserError(WANTED)


def _rungs(actors: list[Path]) -> list[Rung]:
    return [Rung(path.stem, str(path)) for path in actors]
