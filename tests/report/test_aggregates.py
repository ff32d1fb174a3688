"""Interquartile means, probabilities of improvement, profiles and ranks, by hand and against SciPy."""

import numpy as np
import pytest
from scipy import stats

from trajtune.report.aggregates import average_ranks, improvement, interquartile_mean, middle_half, profile
from trajtune.report.uncertainty import Array, Place


def runs(*tasks: list[float]) -> dict[Place, Array]:
    """One episode a run."""
    return {(t, s): np.array([value]) for t, seeds in enumerate(tasks) for s, value in enumerate(seeds)}


def test_the_middle_half_by_hand() -> None:
    """Of five, 1.25 are left out on either side: 0, 0.75, 1, 0.75, 0."""
    assert middle_half(np.array([100.0, 3.0, 0.0, 9.0, 0.0])) == pytest.approx((0.75 * 0 + 3 + 0.75 * 9) / 2.5)
    assert middle_half(np.array([5.0])) == 5.0
    values = np.random.default_rng(0).normal(size=(3, 8))
    np.testing.assert_allclose(middle_half(values), stats.trim_mean(values, 0.25, axis=1))


def test_an_outlier_does_not_move_it() -> None:
    calm = interquartile_mean(runs([0.0, 1.0], [0.5, 0.6], [0.4, 0.5], [0.5, 0.4]))
    wild = interquartile_mean(runs([0.0, 100.0], [0.5, 0.6], [0.4, 0.5], [0.5, 0.4]))
    assert calm.value == pytest.approx(wild.value) == pytest.approx(0.475)


def test_its_interval_holds_it_and_is_the_same_whether_tasks_have_as_many_seeds_or_not() -> None:
    """With a seed more that says the same, nearly: the slow way against the fast one."""
    even = interquartile_mean(runs(*[[x, x] for x in (0.1, 0.4, 0.5, 0.9)]))
    odd = interquartile_mean(runs([0.1, 0.1, 0.1], *[[x, x] for x in (0.4, 0.5, 0.9)]))
    assert even.interval is not None and odd.interval is not None
    assert even.interval[0] < even.value < even.interval[1]
    assert odd.interval == pytest.approx(even.interval, abs=0.1)
    assert interquartile_mean(runs([0.3])).interval is None
    assert interquartile_mean(runs([0.1, 0.2, 0.3], [0.9, 0.8, 0.7])).interval is None  # two tasks are no sample


def test_its_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Of a symmetric distribution the middle half's mean is the mean."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(300):
        tasks = rng.normal(0.0, 1.0, 6)
        found = interquartile_mean(runs(*[list(t + rng.normal(0.0, 0.3, 3)) for t in tasks]))
        assert found.interval is not None
        hits += found.interval[0] <= 0.0 <= found.interval[1]
    assert 0.9 <= hits / 300 <= 0.99


def test_improvement_counts_episodes_and_ties_half() -> None:
    differences = {(0, 0): np.array([1.0, -1.0, 0.0, 2.0]), (1, 0): np.array([1.0]), (2, 0): np.array([-3.0])}
    assert improvement(differences).mean == pytest.approx((2.5 / 4 + 1.0 + 0.0) / 3)


def test_a_profile_is_the_share_above_each_level() -> None:
    np.testing.assert_array_equal(profile(runs([0.1, 0.5], [0.9]), np.array([0.0, 0.5, 1.0])), [1.0, 1 / 3, 0.0])


def test_ranks_are_shared_by_equals_and_taken_where_all_have_runs() -> None:
    """Task 0: b first, a and c share 2 and 3. Task 1: a, b, c. Task 2 lacks c."""
    found = average_ranks({"a": runs([1.0], [3.0], [9.0]), "b": runs([2.0], [2.0], [8.0]), "c": runs([1.0], [1.0])})
    assert found == {"a": 1.75, "b": 1.5, "c": 2.75}
    assert average_ranks({"a": runs([1.0]), "b": {}}) == {} == average_ranks({})
