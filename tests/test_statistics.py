"""Intervals of means and of paired differences."""

import math

import numpy as np
import pytest

from trajtune.statistics import mean_interval, paired_interval


class TestIntervals:
    def test_of_a_mean(self) -> None:
        values = np.random.default_rng(0).normal(3.0, 2.0, 200)
        low, high = mean_interval(values)
        half = 1.96 * values.std() / math.sqrt(200)  # what the central limit theorem says
        assert low == pytest.approx(values.mean() - half, abs=0.05)
        assert high == pytest.approx(values.mean() + half, abs=0.05)
        assert mean_interval(values) == (low, high)
        narrow = mean_interval(values, confidence=0.5)
        assert low < narrow[0] < narrow[1] < high

    def test_of_values_that_do_not_differ(self) -> None:
        assert mean_interval([4.0]) == (4.0, 4.0)
        assert mean_interval([0.1, 0.1, 0.1]) == (pytest.approx(0.1), pytest.approx(0.1))

    def test_paired(self) -> None:
        a = np.random.default_rng(0).normal(size=50) * 100
        assert paired_interval(a.tolist(), a.tolist()) == (0.0, 0.0)
        low, high = paired_interval((a + 1.0 + 0.01 * np.sin(a)).tolist(), a.tolist())
        assert 0.98 < low < high < 1.02  # although the returns themselves vary a hundred times as much
        assert mean_interval(a)[1] - mean_interval(a)[0] > 10
