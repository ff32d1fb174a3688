"""Choose how much to do by what a little of it takes here, before anything that is shown has begun."""

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from trajtune.demo.config import ALGORITHMS, BUDGETS, UNTUNED, Budget, DemoConfig
from trajtune.processes import Map
from trajtune.training.config import Recipe

if TYPE_CHECKING:
    from trajtune.policy import Policy

SECONDS = 120.0
"""What ``auto`` fits the demo into, as far as a short measurement can say."""
UPDATES, EPISODES, STEPS = 3, 20, 40

Costs = Mapping[str, float]
"""Seconds of one window's share of an update, by algorithm, of its beginning (``NAME setup``), and of one time step of
one episode (``step``)."""
WARM, SHARE = ("critic.monte_carlo", "critic.bootstrapped"), 0.05
"""Critics are warmed up for this share of what they will be, where an algorithm has one."""


def choose(config: DemoConfig, workers: int, pool: Map) -> tuple[str, str]:
    """Return the name of a budget and why it was chosen: all workers measure at once, the slowest counts."""
    found = list(pool(partial(measure, config), range(workers)))
    costs = {name: max(each[name] for each in found) for name in found[0]}
    fitting = [name for name in BUDGETS if name != "full" and expected(BUDGETS[name], costs, workers) <= SECONDS]
    name = fitting[0] if fitting else list(BUDGETS)[-1]
    took = expected(BUDGETS[name], costs, workers)
    update = 1e3 * costs[ALGORITHMS[1]] * BUDGETS[name].batch
    reason = f"which will take about {took:.0f} s here "
    reason += f"(an update of {ALGORITHMS[1]} takes {update:.0f} ms, {workers} workers)"
    larger = [each for each in BUDGETS if each != "full"]
    before = larger[larger.index(name) - 1] if larger.index(name) else None
    if before is not None:
        reason += f"; {before} would take {expected(BUDGETS[before], costs, workers):.0f} s"
    return name, reason


def expected(budget: Budget, costs: Costs, workers: int, horizon: int = 200) -> float:
    """Return the seconds that a budget takes when its runs are spread over the workers."""
    evaluation = budget.evaluation
    along = evaluation.along * (len(evaluation.steps(budget.steps)) - 1)
    acting = {name: (budget.episodes + along) * horizon * costs["step"] for name in ALGORITHMS}
    setup = {name: costs[f"{name} setup"] for name in ALGORITHMS}
    runs = [setup[name] + budget.steps * budget.batch * costs[name] + acting[name] for name in ALGORITHMS]
    runs += [budget.episodes * horizon * costs["step"]] * len(UNTUNED)
    free = [0.0] * workers
    for run in [each for _ in range(budget.tasks) for each in runs]:
        free[free.index(min(free))] += run
    return max(free)


def shortened(recipe: Recipe) -> Recipe:
    """Return a recipe whose critic, if it has one, is hardly warmed up."""
    options = recipe.resolved().options
    short = {name: max(1, round(SHARE * options[name])) for name in WARM if name in options}
    return replace(recipe, options={**options, **short})


def measure(config: DemoConfig, number: int) -> Costs:
    """Do a few updates and steps in this process, of one thread."""
    import torch

    from trajtune.demo.running import prepared
    from trajtune.rollout.score import score
    from trajtune.training.finetune import finetune

    torch.set_num_threads(1)
    base, few, suite = prepared(config, 0)
    batch = BUDGETS["standard"].batch
    costs = {}
    for algorithm in ALGORITHMS:
        ticks: list[float] = []

        def watch(step: int, policy: "Policy", ticks: list[float] = ticks) -> None:
            ticks.append(time.perf_counter())

        began = time.perf_counter()
        finetune(base, few, shortened(config.recipe(algorithm, UPDATES + 1, batch)), watch=watch)
        costs[algorithm] = (ticks[-1] - ticks[0]) / (UPDATES * batch)
        costs[f"{algorithm} setup"] = (ticks[0] - began) / SHARE
    ticks = []
    short = replace(suite, horizons=STEPS)
    score(base.agent, short, {few.task: few.brief}, EPISODES, progress=lambda *_: ticks.append(time.perf_counter()))
    # Of a full history, which most steps have.
    return {**costs, "step": (ticks[-1] - ticks[STEPS // 2]) / (EPISODES * (len(ticks) - 1 - STEPS // 2))}
