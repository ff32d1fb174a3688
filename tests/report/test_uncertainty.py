"""Intervals, p-values and corrections: by hand, against SciPy, and how often they cover the truth."""

import math

import numpy as np
import pytest
from scipy import stats

from trajtune.report.uncertainty import (
    Array,
    Estimate,
    Place,
    Stratum,
    effect_size,
    estimate,
    holm,
    mean_of,
    seeds_to_decide,
    strata,
)


def runs(*tasks: list[list[float]]) -> dict[Place, Array]:
    """Episodes by task and seed."""
    return {(t, s): np.array(episodes) for t, seeds in enumerate(tasks) for s, episodes in enumerate(seeds)}


class TestOneSuite:
    def test_three_tasks_by_hand(self) -> None:
        """Means of tasks 1, 2, 6: mean 3, variance ((-2)^2 + (-1)^2 + 3^2) / 2 = 7, error sqrt(7 / 3); t(2) is
        4.302653."""
        found = mean_of([runs([[0.0, 2.0]], [[1.0, 1.0], [3.0, 3.0]], [[6.0]])])
        assert (found.mean, found.freedom, found.over) == (3.0, 2.0, "tasks")
        assert found.error == pytest.approx((7 / 3) ** 0.5)
        reach = 4.302653 * (7 / 3) ** 0.5
        assert found.interval == pytest.approx((3 - reach, 3 + reach), rel=1e-6)
        assert found.p == pytest.approx(stats.ttest_1samp([1.0, 2.0, 6.0], 0.0).pvalue)

    def test_of_two_tasks_the_seeds_are_the_sample(self) -> None:
        """Each task counts half: 0.25 * (2 / 2) + 0.25 * (8 / 2) = 1.25; Satterthwaite 1.25^2 / (0.25^2 + 1)."""
        found = mean_of([runs([[1.0], [3.0]], [[10.0], [14.0]])])
        assert (found.mean, found.over) == (7.0, "seeds")
        assert found.error == pytest.approx(1.25**0.5)
        assert found.freedom == pytest.approx(1.25**2 / (0.25**2 + 1.0**2))

    def test_of_one_seed_the_episodes_are(self) -> None:
        found = mean_of([runs([[1.0, 3.0]])])
        assert (found.mean, found.error, found.over) == (2.0, 1.0, "episodes")

    def test_one_episode_says_nothing(self) -> None:
        found = mean_of([runs([[1.0]])])
        assert (found.mean, found.interval, found.p, found.over) == (1.0, None, None, "nothing")

    def test_tasks_count_the_same_whatever_their_seeds(self) -> None:
        assert mean_of([runs([[0.0]] * 9, [[3.0]], [[3.0]])]).mean == pytest.approx(2.0)

    @pytest.mark.parametrize(("value", "p"), [(0.0, 1.0), (0.5, 0.125)])
    def test_what_does_not_vary(self, value: float, p: float) -> None:
        """Four tasks of one sign: 2 * (1/2)^4, as the sign test has it."""
        found = mean_of([runs(*[[[value, value]]] * 4)])
        assert (found.interval, found.p) == ((value, value), p)


def test_suites_count_the_same_and_are_no_sample() -> None:
    """Three tasks of mean 0 and variance 1, three of mean 10 and variance 4: 5 +- sqrt((1/3 + 4/3) / 4)."""
    one, two = runs([[-1.0]], [[0.0]], [[1.0]]), runs([[8.0]], [[10.0]], [[12.0]])
    found = mean_of([one, two, {}])
    assert found.mean == pytest.approx(5.0)
    assert found.error == pytest.approx((5 / 12) ** 0.5)
    a, b = 1 / 12, 4 / 12
    assert found.freedom == pytest.approx((a + b) ** 2 / (a**2 / 2 + b**2 / 2))


def test_the_weaker_of_two_samples_is_what_it_speaks_of() -> None:
    found = mean_of([runs([[1.0]], [[2.0]], [[3.0]]), runs([[1.0], [2.0]])])
    assert found.over == "seeds"


def test_holm_by_hand() -> None:
    """0.01 * 4, 0.02 * 3, then 0.04 * 2 = 0.08 and 0.05 * 1, which may not lie below."""
    assert holm([0.04, 0.01, None, 0.05, 0.02]) == [0.08, 0.04, None, 0.08, 0.06]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_effect_size_by_hand() -> None:
    assert effect_size(runs([[1.0], [3.0]])) == pytest.approx(2.0 / 2.0**0.5)
    assert effect_size(runs([[1.0]])) is None
    assert effect_size(runs([[1.0], [1.0]])) is None


class TestSeedsToDecide:
    GIVEN = runs(*[[[m - 1.0], [m + 1.0]] for m in (0.9, 1.0, 1.1)])

    def test_by_hand(self) -> None:
        """Within tasks variance 2; means 0.9, 1.0, 1.1 of variance 0.01 < 2 / 2, so none between. t(2) = 4.302653:
        wanted 1 / 4.302653^2 = 0.054017, and (2 / 3) / 0.054017 = 12.3."""
        assert seeds_to_decide([self.GIVEN]) == 13

    def test_several_suites_and_comparisons(self) -> None:
        """Two suites alike: half the variance, and t(4) = 2.776445; of two comparisons t(4) is 3.495406 at 0.9875."""
        assert seeds_to_decide([self.GIVEN, self.GIVEN]) == math.ceil((2 / 3) / 2 * 2.776445**2)
        assert seeds_to_decide([self.GIVEN, self.GIVEN], 2) == math.ceil((2 / 3) / 2 * 3.495406**2)

    def test_tasks_that_differ_are_not_helped_by_seeds(self) -> None:
        assert seeds_to_decide([runs([[-9.0], [-9.1]], [[1.0], [1.1]], [[9.0], [9.1]])]) is None

    def test_as_many_as_there_are_would_not(self) -> None:
        assert seeds_to_decide([runs(*[[[m - 0.01], [m + 0.01]] for m in (0.9, 1.0, 1.1)])]) is None

    def test_too_little_to_tell(self) -> None:
        assert seeds_to_decide([runs([[1.0]], [[2.0]], [[3.0]])]) is None
        assert seeds_to_decide([runs([[1.0], [2.0]])]) is None
        assert seeds_to_decide([self.GIVEN, runs([[1.0], [2.0]])]) is None
        assert seeds_to_decide([]) is None


def simulated(rng: np.random.Generator, tasks: int, seeds: int, spreads: tuple[float, float, float]) -> dict:
    """Runs of 10 episodes around zero; deviations between tasks, seeds and episodes."""
    of_tasks, of_seeds, of_episodes = spreads
    found = {}
    for task in range(tasks):
        middle = rng.normal(0.0, of_tasks)
        for seed in range(seeds):
            found[task, seed] = rng.normal(middle + rng.normal(0.0, of_seeds), of_episodes, 10)
    return found


def percentiles(given: dict, rng: np.random.Generator, resamples: int = 300) -> tuple[float, float]:
    """The plain hierarchical bootstrap: tasks, seeds and episodes drawn again, percentiles."""
    values = np.array([[given[t, s] for s in range(3)] for t in range(5)])  # [T, S, E]
    t, s = rng.integers(5, size=(resamples, 5, 1, 1)), rng.integers(3, size=(resamples, 5, 3, 1))
    means = values[t, s, rng.integers(10, size=(resamples, 5, 3, 10))].mean(axis=(1, 2, 3))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


@pytest.mark.parametrize("spreads", [(1.0, 0.1, 0.5), (0.3, 0.5, 1.0), (0.0, 0.0, 1.0)])
@pytest.mark.parametrize(("tasks", "seeds"), [(5, 3), (5, 1), (10, 2), (3, 3)])
def test_intervals_cover_the_truth_as_often_as_they_say(
    tasks: int, seeds: int, spreads: tuple[float, float, float]
) -> None:
    rng, hits = np.random.default_rng(0), 0
    for _ in range(2000):
        interval = mean_of([simulated(rng, tasks, seeds, spreads)]).interval
        assert interval is not None
        hits += interval[0] <= 0.0 <= interval[1]
    assert 0.935 <= hits / 2000 <= 0.965  # the error of 2,000 trials is 0.005


@pytest.mark.parametrize(("tasks", "seeds"), [(1, 8), (2, 4)])
def test_so_do_those_over_seeds(tasks: int, seeds: int) -> None:
    """Two small strata are a little on the safe side, as Satterthwaite's freedom is known to be."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(2000):
        interval = mean_of([simulated(rng, tasks, seeds, (0.0, 1.0, 1.0))]).interval
        assert interval is not None
        hits += interval[0] <= 0.0 <= interval[1]
    assert 0.935 <= hits / 2000 <= 0.975


def test_a_plain_hierarchical_bootstrap_does_not() -> None:
    """Why it is not used: too narrow where tasks differ, too wide where they do not."""
    rng = np.random.default_rng(0)
    covered = []
    for spreads in ((1.0, 0.1, 0.5), (0.0, 0.0, 1.0)):
        found = [percentiles(simulated(rng, 5, 3, spreads), rng) for _ in range(400)]
        covered.append(np.mean([low <= 0.0 <= high for low, high in found]))
    assert covered[0] < 0.88 and covered[1] > 0.97


def test_an_estimate_of_nothing() -> None:
    assert estimate([]) == Estimate(0.0, None, 0.0, "nothing")
    assert strata({}) == []
    assert estimate([Stratum(1.0, np.array([2.0]), "tasks")]).interval is None
