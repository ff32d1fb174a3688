"""From the random policy to the expert: the rungs a suite's experts leave, and the search for medium quality."""

from collections.abc import Iterator
from dataclasses import dataclass

from trajtune.errors import UserError
from trajtune.experts.actors import blend, random_actor
from trajtune.experts.recording import CHUNK, Episode, mean_return, record
from trajtune.suites.base import Acting, ExpertSource, Rung, Suite

MEDIUM = (1 / 3, 1 / 2)
"""Normalised return of medium data, per task (FACTS section 3)."""
RANDOM_POLICY = "random"
NARROW = 0.02
"""Part of the way between two checkpoints below which a search is stuck."""
RECORDINGS = 8
"""So often the episodes of the data are recorded, at most, to come into that range: each takes as long as the data."""


@dataclass(frozen=True)
class Ladder:
    """The policies of one task from place 0, the random one, to ``top``, the expert; between two, their blends."""

    suite: Suite
    task: int
    source: ExpertSource
    rungs: list[Rung]

    @property
    def top(self) -> float:
        return float(len(self.rungs))

    def acting(self, place: float) -> Acting:
        """Act as what stands at a place: a rung, or a blend of the actions of the two it lies between."""
        below, share = int(place), place % 1.0
        return self._at(below) if share == 0.0 else blend(self._at(below), self._at(below + 1), share)

    def _at(self, place: int) -> Acting:
        return self.source.acting(self.suite, self.task, self.rungs[place - 1]) if place else random_actor

    def name(self, place: float) -> str:
        """Say in words what stands at a place."""
        names = [RANDOM_POLICY, *(rung.name for rung in self.rungs)]
        below, share = int(place), place % 1.0
        if share == 0.0:
            return names[below]
        return f"{1 - share:.6g} {names[below]} + {share:.6g} {names[below + 1]}"

    def record(self, place: float, seeds: list[int], sampled: bool = True) -> list[Episode]:
        """Record one episode a seed with the policy at a place."""
        return record(self.suite, self.task, self.acting(place), seeds, sampled)

    def chunks(self, place: float, seeds: list[int], sampled: bool = True) -> Iterator[list[Episode]]:
        """Record the same, not more than ``CHUNK`` episodes at a time."""
        for first in range(0, len(seeds), CHUNK):
            yield self.record(place, seeds[first : first + CHUNK], sampled)


def record_medium(
    ladder: Ladder, references: dict[str, float], trial_seeds: list[int], seeds: list[int]
) -> tuple[float, list[Episode]]:
    """Return the place of a policy of medium quality, and its episodes.

    A bisection over the ladder from the random policy to the expert, on the episodes of ``trial_seeds``: first over
    checkpoints, then between two neighbours, whose actions are blended, because returns may jump across the whole
    range from one checkpoint to the next. The episodes of ``seeds`` decide; where they fall outside, the search goes
    on with what they say alone, since a few trials say little where an episode succeeds or does not. An expert that
    is no better than random leaves nothing to search in, a ``UserError``.
    """
    random, expert = references["random"], references["expert"]
    if expert <= random:
        where = f"suite {ladder.suite.name}, task {ladder.task}"
        raise UserError(
            f"{where}: the expert's mean return is {expert:.6g}, the random policy's {random:.6g}, so nothing is of "
            "medium quality: train the expert longer (updates), or collect the quality expert alone"
        )

    def level(episodes: list[Episode]) -> float:
        return (mean_return(episodes) - random) / (expert - random)

    middle = sum(MEDIUM) / 2
    low, high = 0.0, ladder.top
    place = _between(low, high)
    for _ in range(12):
        found = level(ladder.record(place, trial_seeds))
        if MEDIUM[0] <= found <= MEDIUM[1]:
            break
        low, high = (place, high) if found < middle else (low, place)
        place = _between(low, high)
    best: tuple[float, float, list[Episode]] | None = None
    measured: list[tuple[float, float]] = []
    for _ in range(RECORDINGS):
        episodes = ladder.record(place, seeds)
        found = level(episodes)
        if best is None or abs(found - middle) < best[0]:
            best = abs(found - middle), place, episodes
        if MEDIUM[0] <= found <= MEDIUM[1]:
            break
        measured.append((place, found))
        following = _next_place(measured, middle, ladder.top)
        if following is None:
            break
        place = following
    assert best is not None
    return best[1], best[2]


def _next_place(measured: list[tuple[float, float]], middle: float, top: float) -> float | None:
    """Where to record after what was measured at some places, the last one last; None where there is nothing left.

    Between the nearest two places that lie on either side of the middle, where a straight line crosses it, but not
    too near to either; as long as all lie on one side, further that way, in steps that double.
    """
    below, above = ([m for m in measured if (m[1] < middle) == side] for side in (True, False))
    if not below or not above:
        step = 2.0 ** (len(measured) - 1)
        last = measured[-1][0]
        place = min(last + step, top) if below else max(last - step, 0.0)
        return None if place == last else place
    (a, low), (b, high) = min(((x, y) for x in below for y in above), key=lambda pair: abs(pair[0][0] - pair[1][0]))
    if abs(b - a) < NARROW:
        return None
    return a + (b - a) * min(max((middle - low) / (high - low), 0.25), 0.75)


def _between(low: float, high: float) -> float:
    """The middle, at a checkpoint as long as there is one between."""
    middle = (low + high) / 2
    return float(round(middle)) if high - low > 1.0 else middle
