"""How sure a mean over tasks, seeds and episodes is: standard error, interval and p-value of one estimate.

What is drawn again from one study to the next, if it were repeated, are tasks; with each come new seeds, and with each
seed new episodes. So the means of whole tasks are the sample, and all that varies below them is in their spread:
drawing seeds and episodes once more within the drawn tasks, as a plain hierarchical bootstrap does, counts it twice
(Davison and Hinkley 1997, section 3.8), and its percentiles know nothing of how few tasks there are. On five tasks it
covers 0.81 to 0.99 where it says 0.95; Student's t over means of tasks covers 0.95
(``tests/report/test_uncertainty.py`` simulates both). Fewer than three tasks are no sample of tasks: they are taken as
they are, and their seeds are the sample; with one seed, its episodes. ``Estimate.over`` says which.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Place = tuple[int, int]
"""Task and seed of a run."""
Runs = Mapping[Place, Array]
"""Every episode's score [E] of the runs of a cell in one suite, or of the differences of two."""
Over = Literal["tasks", "seeds", "episodes", "nothing"]
FEWEST_TASKS = 3
CONFIDENCE = 0.95
ROUNDING = 1e-9
"""Share of a mean that rounding may make up as its error."""


@dataclass(frozen=True)
class Stratum:
    """A sample whose mean counts with a weight in the whole."""

    weight: float
    values: Array
    """[n]: means of tasks, of seeds, or episodes."""
    over: Over


@dataclass(frozen=True)
class Estimate:
    """A mean and how sure it is."""

    mean: float
    error: float | None
    """Its standard error; None where nothing was drawn twice."""
    freedom: float
    """Degrees of freedom of the error (Welch and Satterthwaite's, over several strata)."""
    over: Over
    """What the error speaks of: other tasks, other seeds of these tasks, other episodes of these runs."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95% interval; None where it cannot be told."""
        if self.error is None:
            return None
        reach = 0.0 if self.error == 0.0 else self.error * quantile((1 + CONFIDENCE) / 2, self.freedom)
        return self.mean - reach, self.mean + reach

    @property
    def p(self) -> float | None:
        """Two-sided p-value of the mean being zero; None where it cannot be told.

        Where nothing varies there is no t: all that is known is how many have the same sign, a sign test.
        """
        if self.error is None:
            return None
        if self.error == 0.0:
            return 1.0 if self.mean == 0.0 else float(2.0**-self.freedom)
        from scipy.special import stdtr

        return float(2.0 * stdtr(self.freedom, -abs(self.mean) / self.error))


def quantile(share: float, freedom: float) -> float:
    """Return a quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, share))


def by_task(runs: Runs) -> dict[int, list[Array]]:
    """Return every task's runs, by number and seed."""
    found: dict[int, list[Array]] = {}
    for (task, _), episodes in sorted(runs.items(), key=lambda run: run[0]):
        found.setdefault(task, []).append(episodes)
    return found


def task_means(runs: Runs) -> dict[int, Array]:
    """Return the mean of each run of every task [seeds]."""
    return {task: np.array([each.mean() for each in seeds]) for task, seeds in by_task(runs).items()}


def average_of(many: Sequence[Runs]) -> Runs:
    """Return the mean over several, for the tasks and seeds that all have.

    Episode by episode where all have as many, else of their means. Of none, there is none.
    """
    common = sorted(set.intersection(*map(set, many))) if many else []
    return {place: average([runs[place] for runs in many]) for place in common}


def average(values: Sequence[Array]) -> Array:
    """Return the mean of some arrays of episodes, or of their means where they are not of the same number."""
    same = len({len(value) for value in values}) == 1
    return np.asarray(np.mean(values, axis=0)) if same else np.array([np.mean([value.mean() for value in values])])


def strata(runs: Runs, weight: float = 1.0) -> list[Stratum]:
    """Split the runs of a suite into what is a sample of what; every task counts the same, whatever its seeds."""
    means = task_means(runs)
    if len(means) >= FEWEST_TASKS:
        return [Stratum(weight, np.array([each.mean() for each in means.values()]), "tasks")]
    share = weight / max(1, len(means))
    return [
        Stratum(share, values, "seeds") if len(values) > 1 else Stratum(share, by_task(runs)[task][0], "episodes")
        for task, values in means.items()
    ]


def estimate(parts: Sequence[Stratum]) -> Estimate:
    """Return the weighted mean of the strata's means; their samples are independent."""
    mean = sum(part.weight * float(part.values.mean()) for part in parts)
    if not parts or min(len(part.values) for part in parts) < 2:
        return Estimate(mean, None, 0.0, "nothing")
    shares = [part.weight**2 * float(part.values.var(ddof=1)) / len(part.values) for part in parts]
    variance = sum(shares)
    if math.sqrt(variance) <= ROUNDING * abs(mean):  # nothing varies but the last bits
        variance = 0.0
    below = sum(share**2 / (len(part.values) - 1) for share, part in zip(shares, parts, strict=True))
    freedom = variance**2 / below if variance > 0 else float(sum(len(part.values) - 1 for part in parts))
    kinds: list[Over] = ["episodes", "seeds", "tasks"]
    return Estimate(mean, math.sqrt(variance), freedom, min((part.over for part in parts), key=kinds.index))


def mean_of(suites: Iterable[Runs]) -> Estimate:
    """Return the mean over suites of the mean over their tasks: suites are taken as they are, all alike."""
    given = [runs for runs in suites if runs]
    return estimate([part for runs in given for part in strata(runs, 1.0 / len(given))])


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct for so many comparisons (Holm 1979): each p-value as if it were the only one that is asked for."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    found: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - rank)))
        found[i] = highest
    return found


def effect_size(runs: Runs) -> float | None:
    """Return the mean of paired differences over the deviation between runs (Cohen's d_z, Lakens 2013)."""
    means = np.array([each.mean() for each in runs.values()])
    if len(means) < 2 or (spread := float(means.std(ddof=1))) == 0.0:
        return None
    return float(means.mean()) / spread


def seeds_to_decide(suites: Sequence[Runs], comparisons: int = 1, most: int = 1000) -> int | None:
    """Return how many seeds a task would make the mean over suites told apart from zero, if nothing else changed.

    ``comparisons`` is how many are counted (Bonferroni, the strictest that Holm asks for). The variance between tasks
    does not shrink with seeds; it is estimated by the analysis of variance of tasks and seeds. None where even
    ``most`` would not do, where there are as many already, or where there are too few tasks or seeds to tell.
    """
    found = [_spreads(runs) for runs in suites]
    if not found or any(each is None for each in found):
        return None
    tasks, seeds, within, between = (np.array(column) for column in zip(*filter(None, found), strict=True))
    whole = mean_of(suites)
    if whole.freedom == 0.0:
        return None
    reach = quantile(1 - (1 - CONFIDENCE) / 2 / comparisons, whole.freedom)
    left = (whole.mean / reach) ** 2 - float(np.sum(between / tasks)) / len(suites) ** 2
    if left <= 0.0:
        return None
    needed = math.ceil(float(np.sum(within / tasks)) / len(suites) ** 2 / left)
    return needed if int(seeds.min()) < needed <= most else None


def _spreads(runs: Runs) -> tuple[int, int, float, float] | None:
    """Tasks, seeds of the one that has fewest, and the variances within tasks and between them."""
    tasks = task_means(runs)
    seeds = min(map(len, tasks.values()), default=0)
    if len(tasks) < FEWEST_TASKS or seeds < 2:
        return None
    within = float(np.mean([values.var(ddof=1) for values in tasks.values()]))
    means = np.array([values.mean() for values in tasks.values()])
    return len(tasks), seeds, within, max(0.0, float(means.var(ddof=1)) - within / seeds)
