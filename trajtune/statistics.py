"""Bootstrap intervals of means and of paired differences."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Interval = tuple[float, float]


def mean_interval(values: Sequence[float] | npt.NDArray[np.float64], confidence: float = 0.95) -> Interval:
    """Return the percentile bootstrap interval of the mean. The resampling is seeded: same values, same interval."""
    sample = np.asarray(values, np.float64)
    if len(sample) < 2 or np.ptp(sample) == 0.0:
        return float(sample.mean()), float(sample.mean())
    from scipy.stats import bootstrap

    result = bootstrap(
        (sample,), np.mean, confidence_level=confidence, method="percentile", n_resamples=2000, rng=0, vectorized=True
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def stratified_interval(groups: Sequence[Sequence[float]], confidence: float = 0.95, resamples: int = 2000) -> Interval:
    """Return the interval of the mean over groups of their means, resampling within each group (task) alone."""
    rng = np.random.default_rng(0)
    samples = [np.asarray(group, np.float64) for group in groups]
    means = np.mean([s[rng.integers(len(s), size=(resamples, len(s)))].mean(axis=1) for s in samples], axis=0)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def paired_interval(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Interval:
    """Return the interval of the mean of a - b, episode by episode: both must come from the same episode seeds."""
    return mean_interval(np.asarray(a, np.float64) - np.asarray(b, np.float64), confidence)


def normalised(episode_return: float, references: Mapping[str, float]) -> float | None:
    """(R - R_random) / (R_expert - R_random), or None where the references do not say (FACTS section 3)."""
    low, high = references.get("random"), references.get("expert")
    if low is None or high is None or low == high:
        return None
    return (episode_return - low) / (high - low)
