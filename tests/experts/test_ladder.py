"""The search for medium quality: what it records, in which order, and when it gives up. Returns are given by hand."""

from collections.abc import Callable
from typing import Any

import pytest

import trajtune.experts.ladder as module
from trajtune.experts.ladder import MEDIUM, RECORDINGS, Ladder, record_medium

TRIALS, SEEDS = [1, 2, 3], list(range(10, 20))


class Stairs(Ladder):
    """A ladder of twenty rungs whose returns are a function of the place, and of whether it is a trial."""

    top = 20.0
    returns: Callable[[float, bool], float]
    recorded: list[float]

    def __init__(self, returns: Callable[[float, bool], float]) -> None:
        object.__setattr__(self, "returns", returns)  # a ladder is frozen
        object.__setattr__(self, "recorded", [])

    def record(self, place: float, seeds: list[int], sampled: bool = True) -> Any:
        if seeds != TRIALS:
            self.recorded.append(place)
        return [self.returns(place, seeds == TRIALS)]


@pytest.fixture(autouse=True)
def plain_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "mean_return", lambda episodes: episodes[0])


def searched(returns: Callable[[float, bool], float]) -> tuple[float, float, list[float]]:
    """The place that was found, its return, and where data were recorded. Random returns 0, the expert 1."""
    stairs = Stairs(returns)
    place, episodes = record_medium(stairs, {"random": 0.0, "expert": 1.0}, TRIALS, SEEDS)
    found: Any = episodes[0]
    return place, found, stairs.recorded


def test_trials_that_tell_the_truth_leave_one_recording() -> None:
    place, found, recorded = searched(lambda place, trial: place / 20)
    assert recorded == [place] and MEDIUM[0] <= found <= MEDIUM[1]


def test_trials_that_mislead_are_not_asked_again() -> None:
    """They say that place 5 is medium (10, then 5); recorded it returns 0.1. Up 1, then 2 and 4, then a straight line
    between 8 (0.16) and 12 (0.6): 8 + 4 * (0.41667 - 0.16) / 0.44, of which 0.25 to 0.75 of the way is allowed."""
    true = {5.0: 0.1, 6.0: 0.12, 8.0: 0.16, 12.0: 0.6}
    place, found, recorded = searched(lambda place, trial: 0.08 * place if trial else true.get(place, 0.4))
    expected = 8 + 4 * (sum(MEDIUM) / 2 - 0.16) / 0.44
    assert recorded == [5.0, 6.0, 8.0, 12.0, pytest.approx(expected)]
    assert (place, found) == (recorded[-1], 0.4)


def test_it_goes_down_as_well() -> None:
    _, found, recorded = searched(lambda place, trial: 0.04 * place if trial else 0.1 * place)
    assert recorded[:2] == [10.0, 9.0] and MEDIUM[0] <= found <= MEDIUM[1]


def test_returns_that_jump_get_what_comes_nearest() -> None:
    """Nothing between 0.1 and 0.9: halving, a quarter of the way at least, until it has recorded often enough."""
    place, found, recorded = searched(lambda place, trial: 0.42 if trial else 0.9 if place > 9.77 else 0.1)
    assert len(recorded) == RECORDINGS and found == 0.1  # 0.317 from the middle, 0.9 would be 0.483
    assert place <= 9.77


@pytest.mark.parametrize(("level", "last"), [(0.1, 20.0), (0.9, 0.0)])
def test_it_stops_where_the_ladder_ends(level: float, last: float) -> None:
    _, found, recorded = searched(lambda place, trial: 0.42 if trial else level)
    assert (recorded[-1], found) == (last, level) and len(recorded) == len(set(recorded)) < RECORDINGS


def test_neighbours_too_near_to_each_other_end_it() -> None:
    assert module._next_place([(5.0, 0.1), (5.01, 0.9)], 0.4, 20.0) is None
    assert module._next_place([(5.0, 0.9), (6.0, 0.1)], 0.4, 20.0) == pytest.approx(5.0 + 0.625)  # it may fall, too
