"""Choose how much to do by what a little of it takes here, before anything that is shown has begun."""

from collections.abc import Mapping
from dataclasses import astuple, replace
from functools import partial

from trajtune.demo.config import ALGORITHMS, BUDGETS, UNTUNED, Budget, DemoConfig
from trajtune.processes import Map
from trajtune.study.measuring import Cost, cost_of

SECONDS = 120.0
"""What ``auto`` fits the demo into, as far as a short measurement can say."""

Costs = Mapping[str, Cost]
"""Of each algorithm, with updates of the standard budget's batch."""
BATCH = BUDGETS["standard"].batch


def choose(config: DemoConfig, workers: int, pool: Map) -> tuple[str, str]:
    """Return the name of a budget and why it was chosen: all workers measure at once, the slowest counts."""
    found = list(pool(partial(measure, config), range(workers)))
    costs = {name: slowest([each[name] for each in found]) for name in ALGORITHMS}
    fitting = [name for name in BUDGETS if name != "full" and expected(BUDGETS[name], costs, workers) <= SECONDS]
    name = fitting[0] if fitting else list(BUDGETS)[-1]
    took = expected(BUDGETS[name], costs, workers)
    update = 1e3 * costs[ALGORITHMS[1]].update * BUDGETS[name].batch / BATCH
    reason = f"which will take about {took:.0f} s here "
    reason += f"(an update of {ALGORITHMS[1]} takes {update:.0f} ms, {workers} workers)"
    larger = [each for each in BUDGETS if each != "full"]
    before = larger[larger.index(name) - 1] if larger.index(name) else None
    if before is not None:
        reason += f"; {before} would take {expected(BUDGETS[before], costs, workers):.0f} s"
    return name, reason


def slowest(costs: list[Cost]) -> Cost:
    """Return the most that any of them says of each."""
    return Cost(*map(max, zip(*map(astuple, costs), strict=True)))


def expected(budget: Budget, costs: Costs, workers: int, horizon: int = 200) -> float:
    """Return the seconds that a budget takes when its runs are spread over the workers."""
    runs = [costs[ALGORITHMS[0]].run(0, budget.evaluation, horizon)] * len(UNTUNED)
    for cost in (costs[name] for name in ALGORITHMS):
        scaled = replace(cost, update=cost.update * budget.batch / BATCH)
        runs.append(cost.warm + scaled.run(budget.steps, budget.evaluation, horizon))
    free = [0.0] * workers
    for run in [each for _ in range(budget.tasks) for each in runs]:
        free[free.index(min(free))] += run
    return max(free)


def measure(config: DemoConfig, number: int) -> Costs:
    """Do a few updates and steps of each algorithm in this process, of one thread."""
    import torch

    from trajtune.demo.running import prepared

    torch.set_num_threads(1)
    base, few, suite = prepared(config, 0)
    episodes = BUDGETS["standard"].episodes
    return {name: cost_of(base, few, suite, config.recipe(name, 1, BATCH), episodes) for name in ALGORITHMS}
