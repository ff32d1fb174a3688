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
"""Part of the way between two checkpoints below which a bisection is stuck."""


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
    on with what they say. An expert that is no better than random leaves nothing to search in, a ``UserError``.
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
    reopened = 1.0
    for _ in range(20):
        episodes = ladder.record(place, seeds)
        found = level(episodes)
        if best is None or abs(found - middle) < best[0]:
            best = abs(found - middle), place, episodes
        if MEDIUM[0] <= found <= MEDIUM[1]:
            break
        low, high = (place, high) if found < middle else (low, place)
        if high - low < NARROW:  # trials closed the range on the wrong side: open it where the recording points
            top = ladder.top
            low, high = (place, min(place + reopened, top)) if found < middle else (max(place - reopened, 0.0), place)
            reopened *= 2.0
        place = (low + high) / 2
    assert best is not None
    return best[1], best[2]


def _between(low: float, high: float) -> float:
    """The middle, at a checkpoint as long as there is one between."""
    middle = (low + high) / 2
    return float(round(middle)) if high - low > 1.0 else middle
