"""From the random policy to the expert: the rungs a suite's experts leave, and the search for medium quality."""

from pathlib import Path

import numpy as np

from trajtune.experts.policies import Acting, random_actor, sac_actor, scripted_actor
from trajtune.experts.recording import Episode, record
from trajtune.suites.base import Array, Suite

MEDIUM = (1 / 3, 1 / 2)
"""Normalised return of medium data, per task (FACTS section 3)."""
RANDOM_POLICY = "random"
SCRIPT_NOISE = (*(float(x) for x in np.geomspace(10.0, 0.3, 16)), 0.0)
"""Noise of a scripted expert's "checkpoints", from nearly random to the best."""
NARROW = 0.02
"""Part of the way between two checkpoints below which a bisection is stuck."""


def acting_of(suite: Suite, checkpoint: str) -> Acting:
    """Return what a rung of a ladder stands for: the random policy, a script with noise, or a saved actor."""
    if checkpoint == RANDOM_POLICY:
        return random_actor
    if checkpoint.startswith("script:"):
        return scripted_actor(suite, float(checkpoint.removeprefix("script:")))
    return sac_actor(Path(checkpoint))


def record_medium(
    suite: Suite,
    task: int,
    ladder: list[str],
    references: dict[str, float],
    trial_seeds: list[int],
    seeds: list[int],
) -> tuple[str, list[Episode]]:
    """Return a policy of medium quality, as text, and its episodes.

    A bisection over the ladder from the random policy to the expert, on the episodes of ``trial_seeds``: first over
    checkpoints, then between two neighbours, whose actions are blended, because returns may jump across the whole
    range from one checkpoint to the next. The episodes of ``seeds`` decide; where they fall outside, the search goes
    on with what they say.
    """

    def level(episodes: list[Episode]) -> float:
        mean = float(np.mean([e.episode_return for e in episodes]))
        return (mean - references["random"]) / (references["expert"] - references["random"])

    middle = sum(MEDIUM) / 2
    low, high = 0.0, float(len(ladder) - 1)
    place = _between(low, high)
    for _ in range(12):
        found = level(record(suite, task, _blend(suite, ladder, place), trial_seeds))
        if MEDIUM[0] <= found <= MEDIUM[1]:
            break
        low, high = (place, high) if found < middle else (low, place)
        place = _between(low, high)
    best: tuple[float, float, list[Episode]] | None = None
    reopened = 1.0
    for _ in range(20):
        episodes = record(suite, task, _blend(suite, ladder, place), seeds)
        found = level(episodes)
        if best is None or abs(found - middle) < best[0]:
            best = abs(found - middle), place, episodes
        if MEDIUM[0] <= found <= MEDIUM[1]:
            break
        low, high = (place, high) if found < middle else (low, place)
        if high - low < NARROW:  # trials closed the range on the wrong side: open it where the recording points
            top = len(ladder) - 1.0
            low, high = (place, min(place + reopened, top)) if found < middle else (max(place - reopened, 0.0), place)
            reopened *= 2.0
        place = (low + high) / 2
    assert best is not None
    return _blend_name(ladder, best[1]), best[2]


def _between(low: float, high: float) -> float:
    """The middle, at a checkpoint as long as there is one between."""
    middle = (low + high) / 2
    return float(round(middle)) if high - low > 1.0 else middle


def _blend(suite: Suite, ladder: list[str], place: float) -> Acting:
    """Act at a place on the ladder: its checkpoint, or a blend of the actions of the two it lies between."""
    below, share = int(place), place % 1.0
    first = acting_of(suite, ladder[below])
    if share == 0.0:
        return first
    second = acting_of(suite, ladder[below + 1])

    def act(observations: Array, goals: Array, noise: Array) -> Array:
        return (1.0 - share) * first(observations, goals, noise) + share * second(observations, goals, noise)

    return act


def _blend_name(ladder: list[str], place: float) -> str:
    below, share = int(place), place % 1.0
    name = Path(ladder[below]).stem
    return name if share == 0.0 else f"{1 - share:.6g} {name} + {share:.6g} {Path(ladder[below + 1]).stem}"
