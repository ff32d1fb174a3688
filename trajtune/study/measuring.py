"""What a run takes here, by a little of it: for the plan of a study, and for the demo's choice of a budget."""

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trajtune.study.cell import Evaluation
from trajtune.training.config import Recipe

if TYPE_CHECKING:
    from trajtune.agents.saving import SavedAgent
    from trajtune.data.fewshot import FewShot
    from trajtune.policy import Policy
    from trajtune.rollout.score import Subject
    from trajtune.suites.base import Suite

UPDATES, STEPS, EPISODES = 3, 40, 20
"""So many updates are timed, and time steps of at most so many episodes."""
WARM, SHARE = ("monte_carlo", "bootstrapped"), 0.05
"""Critics are warmed up for this share of what they will be, where an algorithm has one."""


@dataclass(frozen=True)
class Cost:
    """Seconds of one thread."""

    step: float
    """Of one time step of one episode of many."""
    update: float = 0.0
    setup: float = 0.0
    """Before the first update."""
    warm: float = 0.0
    """More of it, once a few-shot set: what teaching the critic takes, at most."""

    def run(self, updates: int, evaluation: Evaluation, horizon: int) -> float:
        """Return what a run takes, its critic warm."""
        begun = self.setup if updates else 0.0
        return begun + updates * self.update + evaluation.played(updates) * horizon * self.step


def cost_of(base: "SavedAgent", few: "FewShot", suite: "Suite", recipe: Recipe | None, episodes: int) -> Cost:
    """Do a few updates and steps in this process, whose threads the caller has set to one."""
    from trajtune.algorithms.warming import forget
    from trajtune.training.finetune import finetune

    if recipe is None:
        return Cost(_acting(base.agent, few, suite, episodes))
    short = shortened(recipe)
    finetune(base, few, replace(short, training=replace(short.training, steps=1)))  # what is only done once
    forget()
    times = []
    for _ in range(2):  # the second finds the critic warm
        ticks = [time.perf_counter()]

        def watch(step: int, policy: "Policy", ticks: list[float] = ticks) -> None:
            ticks.append(time.perf_counter())

        tuned = finetune(base, few, short, watch=watch)
        update = (ticks[-1] - ticks[1]) / UPDATES
        times.append((max(0.0, ticks[1] - ticks[0] - update), update))
    (first, _), (setup, update) = times
    warm = max(0.0, first - setup) / SHARE if critic_of(short) else 0.0
    return Cost(_acting(tuned.policy, few, suite, episodes), update, setup, warm)


def shortened(recipe: Recipe) -> Recipe:
    """Return a recipe of a few updates whose critic, if it has one, is hardly warmed up."""
    full = recipe.resolved()
    short = {
        name: max(1, round(SHARE * value)) if value else value
        for name, value in full.options.items()
        if name.rpartition(".")[2] in WARM
    }
    training = replace(full.training, steps=UPDATES + 1)
    return replace(full, options={**full.options, **short}, training=training)


def critic_of(recipe: Recipe) -> tuple[tuple[str, object], ...]:
    """Return the options that a resolved recipe's critic has: what is equal in them may share its warm-up."""
    return tuple((name, value) for name, value in recipe.options.items() if "critic." in name)


def _acting(subject: "Subject", few: "FewShot", suite: "Suite", episodes: int) -> float:
    from trajtune.rollout.score import score

    ticks: list[float] = []
    count = min(episodes, EPISODES)
    short = replace(suite, horizons=min(STEPS, suite.horizon(few.task)))
    score(subject, short, {few.task: few.brief}, count, progress=lambda *_: ticks.append(time.perf_counter()))
    half = len(ticks) // 2  # of a full history, which most steps have
    return (ticks[-1] - ticks[half]) / (count * max(1, len(ticks) - 1 - half))
