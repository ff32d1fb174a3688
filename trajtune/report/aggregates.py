"""Beyond means: interquartile mean, probability of improvement, performance profiles and average ranks.

As in Agarwal et al. 2021 ("Deep RL at the edge of the statistical precipice"); their package no longer installs.
Intervals draw tasks again, as ``uncertainty`` says why (of fewer than three there is none), and are stretched for small
samples (Hesterberg 2015, section 3.3.1): percentiles of five tasks would be too narrow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trajtune.report.uncertainty import CONFIDENCE, FEWEST_TASKS, Array, Estimate, Runs, mean_of, quantile, task_means
from trajtune.seeds import stream

RESAMPLES = 1000


@dataclass(frozen=True)
class Aggregate:
    """A statistic, and its 95% interval; None where there is nothing to draw from."""

    value: float
    interval: tuple[float, float] | None


def interquartile_mean(runs: Runs) -> Aggregate:
    """Return the mean of the middle half of the runs' mean scores."""
    units = list(task_means(runs).values())
    value = float(middle_half(np.concatenate(units)))
    return Aggregate(value, _stretched(value, units) if len(units) >= FEWEST_TASKS else None)


def middle_half(values: Array) -> Array:
    """Return the mean of [..., n] values without the lowest and the highest quarter, which are left out in parts."""
    n = values.shape[-1]
    ranks = np.arange(1, n + 1)
    weights = np.clip(np.minimum(ranks, n + 1 - ranks) - n / 4, 0.0, 1.0)
    return np.asarray(np.sort(values, axis=-1) @ (weights / weights.sum()))


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


def _stretched(value: float, units: Sequence[Array]) -> tuple[float, float]:
    """The interval of the middle half's mean that drawing units again gives, stretched for how few they are."""
    n = len(units)
    drawn = stream(0, "report").integers(n, size=(RESAMPLES, n))
    if len({len(unit) for unit in units}) == 1:
        means = middle_half(np.stack(units)[drawn].reshape(RESAMPLES, -1))
    else:
        means = np.array([middle_half(np.concatenate([units[i] for i in row])) for row in drawn])
    share = (1 + CONFIDENCE) / 2
    low, high = np.quantile(means, [1 - share, share])
    stretch = quantile(share, n - 1) / quantile(share, np.inf) * (n / (n - 1)) ** 0.5
    return float(value - (value - low) * stretch), float(value + (high - value) * stretch)
