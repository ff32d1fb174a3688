"""How much of a study is done: the same study at a size that a minute, an hour or a night has room for."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace

from trajtune.errors import unknown
from trajtune.study.declaration import Study
from trajtune.study.selection import Selection
from trajtune.suites.base import SPLITS, written_out
from trajtune.training.config import TrainConfig


@dataclass(frozen=True)
class Budget:
    """The most that is done of each; what a study has less of stays as it is."""

    summary: str
    tasks: int
    """Of each suite, the first so many."""
    seeds: int
    episodes: int
    points: int
    steps: int
    batch: int
    trials: int
    """Of a selection, and a selection's tasks and seeds are as many as the study's."""


PAPER = "paper"
BUDGETS: Mapping[str, Budget | None] = {
    "smoke": Budget("whether it all runs", tasks=1, seeds=1, episodes=2, points=0, steps=3, batch=4, trials=2),
    "small": Budget("a first look", tasks=2, seeds=1, episodes=10, points=0, steps=100, batch=16, trials=5),
    "night": Budget("numbers with intervals", tasks=5, seeds=3, episodes=20, points=1, steps=300, batch=16, trials=30),
    PAPER: None,
}
"""From the smallest to all that the study declares."""


def within(study: Study, name: str) -> Study:
    """Return the study with no more in it than a budget has."""
    if name not in BUDGETS:
        raise unknown("budget", name, BUDGETS)
    if (budget := BUDGETS[name]) is None:
        return study
    return replace(
        study,
        tasks=_first(study.tasks, budget.tasks),
        seeds=study.seeds[: budget.seeds],
        episodes=min(study.episodes, budget.episodes),
        points=min(study.points, budget.points),
        training=_training(study.training, budget),
        selection=study.selection and _selection(study.selection, budget),
    )


def _training(training: TrainConfig, budget: Budget) -> TrainConfig:
    return replace(
        training,
        steps=min(training.steps, budget.steps),
        batch=min(training.batch, budget.batch),
        warmup=min(training.warmup, budget.steps // 2),
    )


def _selection(selection: Selection, budget: Budget) -> Selection:
    """A grid stays whole: its size is what it declares."""
    return replace(
        selection,
        held_out=tuple(replace(each, tasks=each.tasks[: budget.tasks]) for each in selection.held_out),
        seeds=selection.seeds[: budget.seeds],
        episodes=min(selection.episodes, budget.episodes),
        trials=min(selection.trials, budget.trials),
        training=selection.training and _training(selection.training, budget),
    )


def _first(tasks: str, count: int) -> str:
    """The first so many of a list of tasks, or of what a word stands for."""
    name, colon, most = tasks.partition(":")
    if name in SPLITS:
        return f"{name}:{min(int(most), count) if colon and most.isdecimal() else count}"
    return ",".join(itertools.islice(written_out(tasks), count))
