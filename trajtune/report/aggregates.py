"""Beyond means: interquartile mean, probability of improvement, performance profiles and average ranks.

As in Agarwal et al. 2021 ("Deep RL at the edge of the statistical precipice"); their package no longer installs.
Intervals draw tasks again (seeds, where there are fewer than three), as ``uncertainty`` says why, and are stretched for
small samples (Hesterberg 2015, section 3.3.1): percentiles of five tasks would be too narrow.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trajtune.report.uncertainty import CONFIDENCE, FEWEST_TASKS, Array, Estimate, Runs, mean_of, quantile
from trajtune.seeds import stream

RESAMPLES = 2000


@dataclass(frozen=True)
class Aggregate:
    """A statistic, and its 95% interval; None where there is nothing to draw from."""

    value: float
    interval: tuple[float, float] | None


def interquartile_mean(runs: Runs) -> Aggregate:
    """Return the mean of the middle half of the runs' mean scores."""
    return _over_tasks({place: np.array([each.mean()]) for place, each in runs.items()}, middle_half)


def middle_half(values: Array) -> float:
    """Return the mean of [n] values without the lowest and the highest quarter, which are left out in parts."""
    ordered, quarter = np.sort(values), len(values) / 4
    weights = np.clip(np.minimum(np.arange(1, len(values) + 1), np.arange(len(values), 0, -1)) - quarter, 0.0, 1.0)
    return float(np.average(ordered, weights=weights))


def improvement(differences: Runs) -> Estimate:
    """Return the share of paired episodes that are better than the baseline's; equal ones count half.

    Every task counts the same. Of a baseline that is as good it is 0.5.
    """
    return mean_of([{place: np.asarray((d > 0) + 0.5 * (d == 0)) for place, d in differences.items()}])


def profile(runs: Runs, levels: Array) -> Array:
    """Return the share of runs whose mean score lies above each level [L]."""
    scores = np.array([each.mean() for each in runs.values()])
    return np.asarray((scores[None] > levels[:, None]).mean(axis=1))


def average_ranks(runs: Mapping[str, Runs]) -> dict[str, float]:
    """Return each algorithm's mean rank over the tasks and seeds that all have, 1 the best; equals share a rank."""
    from scipy.stats import rankdata

    places = set.intersection(*(set(each) for each in runs.values())) if runs else set()
    if not places:
        return {}
    scores = np.array([[each[place].mean() for each in runs.values()] for place in sorted(places)])
    ranks = rankdata(-scores, axis=1).mean(axis=0)
    return dict(zip(runs, map(float, ranks), strict=True))


def _over_tasks(runs: Runs, statistic: Callable[[Array], float]) -> Aggregate:
    """The statistic of all runs' numbers together, and an interval that draws whole tasks, or runs, again."""
    by_task: dict[int, list[Array]] = {}
    for (task, _), values in sorted(runs.items()):
        by_task.setdefault(task, []).append(values)
    whole = np.concatenate(list(runs.values()))
    value = statistic(whole)
    units = [np.concatenate(seeds) for seeds in by_task.values()]
    if len(units) < FEWEST_TASKS:
        units = [seed for seeds in by_task.values() for seed in seeds]
    if len(units) < 2:
        return Aggregate(value, None)
    return Aggregate(value, _stretched(value, units, statistic))


def _stretched(value: float, units: Sequence[Array], statistic: Callable[[Array], float]) -> tuple[float, float]:
    n = len(units)
    rng = stream(0, "report")
    drawn = [statistic(np.concatenate([units[i] for i in rng.integers(n, size=n)])) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    share = (1 + CONFIDENCE) / 2
    stretch = quantile(share, n - 1) / quantile(share, np.inf) * (n / (n - 1)) ** 0.5
    return float(value - (value - low) * stretch), float(value + (high - value) * stretch)
