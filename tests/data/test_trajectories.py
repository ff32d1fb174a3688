"""Flat arrays: what selecting, loading, digesting and printing make of them."""

from dataclasses import fields, replace

import numpy as np
import pytest

from tests.data.made import data, episode, generator
from trajtune.data.episodes import from_episodes
from trajtune.data.trajectories import PER_STEP, PER_TRAJECTORY, Trajectories, returns_to_go
from trajtune.errors import UserError


def full() -> Trajectories:
    made = data(final=True)
    return replace(made, achieved=generator().normal(size=(made.steps, 4)).astype(np.float32))


def test_every_array_is_of_a_step_or_of_a_trajectory() -> None:
    assert sorted((*PER_STEP, *PER_TRAJECTORY)) == sorted(f.name for f in fields(Trajectories))


def test_returns_to_go_are_what_a_loop_sums() -> None:
    rewards = generator().normal(size=50).astype(np.float32)
    naive = [sum(float(r) for r in rewards[t:]) for t in range(50)]
    found = returns_to_go(rewards)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, naive, rtol=1e-6, atol=1e-6)


def test_returns_to_go_do_not_lose_small_rewards() -> None:
    """In float32, 2^24 + 1 is 2^24: a sum kept in float32 would stand still."""
    rewards = np.ones(9, np.float32)
    rewards[-1] = 2.0**24
    assert returns_to_go(rewards)[0] == 2**24 + 8


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4], [4, 2, 0], [3], [1, 1]])
def test_loading_some_is_what_a_loop_copies(rows: list[int]) -> None:
    made = full()
    found = made.subset(rows).loaded()
    assert len(found) == len(rows) and found.steps == sum(int(made.length[i]) for i in rows)
    for j, i in enumerate(rows):
        for t in range(int(made.length[i])):
            for name in PER_STEP:
                left, right = getattr(found, name), getattr(made, name)
                np.testing.assert_array_equal(left[found.start[j] + t], right[made.start[i] + t])
                assert left.dtype == np.float32
        for name in ("length", "task", "terminated", "final_observations"):
            np.testing.assert_array_equal(getattr(found, name)[j], getattr(made, name)[i])
        assert found.returns[j] == made.returns[i]


def test_what_is_not_known_stays_so() -> None:
    found = data().subset([2, 1]).loaded()
    assert found.final_observations is None and found.achieved is None


@pytest.mark.parametrize("name", [*PER_STEP, "final_observations"])
def test_loading_names_what_is_not_finite(name: str) -> None:
    made = full()
    array = getattr(made, name).copy()
    array[2 if name == "final_observations" else made.start[2] + 1] = np.nan
    broken = replace(made, **{name: array})
    with pytest.raises(UserError, match=f"non-finite number in {name} of trajectory 1 of the selection"):
        broken.subset([4, 2, 1]).loaded()
    broken.subset([4, 1]).loaded()


@pytest.mark.parametrize("name", [f.name for f in fields(Trajectories)])
def test_a_digest_is_of_every_array(name: str) -> None:
    made = full()
    changed = getattr(made, name).copy()
    changed[-1] = ~changed[-1] if changed.dtype == bool else changed[-1] + 1
    assert replace(made, **{name: changed}).digest() != made.digest() == full().digest()


def test_a_digest_tells_what_is_missing_and_shapes_apart() -> None:
    made = full()
    others = [replace(made, achieved=None), replace(made, final_observations=None)]
    others += [replace(made, achieved=made.achieved.reshape(-1, 2)), replace(made, achieved=made.achieved[:0])]
    assert len({each.digest() for each in (made, *others)}) == 5


def test_trajectories_print_as_one_short_line() -> None:
    assert repr(full()) == "Trajectories(5 of 2 tasks, 25 steps, 3 observations, 2 actions)"
    one = from_episodes([episode(0, 7, 20, False)] * 30, task=7)
    assert str(one) == "Trajectories(30 of task 7, 600 steps, 3 observations, 2 actions)"
