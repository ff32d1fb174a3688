"""One's own recordings: Minari's and Gymnasium's words, final states, action boxes, and what is refused."""

from typing import Any

import numpy as np
import pytest

from tests.data.made import episode
from trajtune.data.episodes import KNOWN, from_episodes
from trajtune.errors import UserError


def given(length: int = 4, **more: Any) -> dict[str, Any]:
    return {**episode(0, 0, length, False), **more}


def bare(length: int = 4, **more: Any) -> dict[str, Any]:
    """Without a word on how it ended, but for those given."""
    return {name: value for name, value in given(length).items() if name != "terminated"} | more


def refusal(*episodes: Any, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        from_episodes(list(episodes), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_from_episodes() -> None:
    picked = from_episodes([episode(0, 3, 4, False), episode(1, 3, 2, True)], task=3)
    assert picked.start.tolist() == [0, 4] and picked.length.tolist() == [4, 2] and picked.steps == 6
    assert picked.task.tolist() == [3, 3] and picked.terminated.tolist() == [False, True]
    assert picked.observations.dtype == picked.actions.dtype == picked.rewards.dtype == np.float32
    assert picked.final_observations is None and picked.achieved is None
    for i in range(2):
        rewards = episode(i, 3, (4, 2)[i], False)["rewards"]
        np.testing.assert_allclose(picked.returns[i], rewards.sum(), rtol=1e-6)


def test_from_episodes_takes_lists_and_iterators() -> None:
    one = {"observations": [[0.0], [1.0]], "actions": [[1.0], [1.0]], "rewards": [1, 2]}
    picked = from_episodes(dict(one) for _ in range(3))
    assert picked.returns_to_go.tolist() == [3.0, 2.0] * 3 and not picked.terminated[0]


# How an episode ended

LAST = np.array([False, False, False, True])


@pytest.mark.parametrize("name", ["terminated", "terminations"])
@pytest.mark.parametrize(
    ("value", "ended"),
    [
        (True, True),
        (False, False),
        (np.bool_(True), True),
        (np.array(True), True),
        (1, True),
        (LAST, True),
        (LAST.tolist(), True),
        (LAST.astype(np.float32), True),
        (~LAST & False, False),
    ],
)
def test_terminated_is_one_value_or_the_last_of_all(name: str, value: Any, ended: bool) -> None:
    assert from_episodes([bare(**{name: value})]).terminated.tolist() == [ended]


def test_minaris_words() -> None:
    """40 episodes as Minari has them: T + 1 observations, two flags of [T]."""
    rng = np.random.default_rng(0)
    episodes = []
    for i in range(40):
        n = int(rng.integers(1, 9))
        ends = np.arange(n) == n - 1
        flags = {"terminations": ends & (i % 3 == 0), "truncations": ends & (i % 3 != 0)}
        one = {"observations": rng.normal(size=(n + 1, 5)), "actions": rng.uniform(-1, 1, (n, 2)), **flags}
        episodes.append({**one, "rewards": rng.normal(size=n)})
    picked = from_episodes(episodes)
    assert picked.terminated.tolist() == [i % 3 == 0 for i in range(40)]
    for i, one in enumerate(episodes):
        rows = slice(picked.start[i], picked.start[i] + picked.length[i])
        np.testing.assert_array_equal(picked.observations[rows], one["observations"][:-1].astype(np.float32))
        np.testing.assert_array_equal(picked.actions[rows], one["actions"].astype(np.float32))
        np.testing.assert_array_equal(picked.final_observations[i], one["observations"][-1].astype(np.float32))


@pytest.mark.parametrize("name", ["terminated", "terminations", "truncated", "truncations"])
def test_flags_are_refused(name: str) -> None:
    early = refusal(given(), bare(**{name: [0, 1, 0, 0]}))
    assert f"trajectory 1 is {name} at step 1 of 4: an episode ends there, split it" in early
    assert f"{name} has shape (3,), expected one value or [4]" in refusal(bare(**{name: [0, 0, 1]}))
    assert "neither true nor false" in refusal(bare(**{name: 0.5}))
    assert "neither true nor false" in refusal(bare(**{name: [0, 0, 0, np.nan]}))
    assert "is not an array of numbers" in refusal(bare(**{name: "yes"}))


def test_two_words_for_one_flag_are_refused() -> None:
    assert "has both terminated and terminations" in refusal(bare(terminated=True, terminations=LAST))


# Names


@pytest.mark.parametrize("name", ["terminals", "dones", "infos", "observation"])
def test_an_unknown_name_is_an_error_that_lists_the_known(name: str) -> None:
    message = refusal(given(), given(**{name: 1}))
    assert f"unknown name in trajectory 1 '{name}'" in message and ", ".join(KNOWN) in message
    assert "did you mean observations?" in refusal(given(observation=1))


def test_what_is_missing_is_named() -> None:
    assert "no trajectories" in refusal()
    assert "trajectory 0 has no actions and no rewards" in refusal({"observations": [[1.0]]})
    with pytest.raises(UserError, match="this is one episode: give a list"):
        from_episodes(given())  # type: ignore[arg-type]
    assert "trajectory 0 is not a mapping" in refusal([1, 2])


# Shapes and numbers


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rewards": np.ones(3)}, "trajectory 1 needs as many"),
        ({"actions": np.zeros((5, 2))}, "trajectory 1 needs as many .* got 4 observations, 5 actions, 4 rewards"),
        ({"observations": np.ones((6, 3))}, "trajectory 1 needs as many"),
        ({"observations": np.ones((3, 3))}, "trajectory 1 needs as many"),
        ({"achieved": np.ones((5, 3))}, "trajectory 1 needs as many"),
        ({"observations": np.ones((0, 3)), "actions": np.ones((0, 2)), "rewards": np.ones(0)}, "trajectory 1 needs"),
        ({"rewards": np.ones((4, 1))}, r"trajectory 1: rewards has shape \(4, 1\), expected \[T\]"),
        ({"observations": np.ones(4)}, r"trajectory 1: observations has shape \(4,\), expected \[T, size\]"),
        ({"observations": np.ones((4, 2))}, r"trajectory 1: observations has shape .* \[T, 3\] as in trajectory 0"),
        ({"observations": np.ones((4, 2, 2, 3))}, "trajectory 1: observations has shape"),
        ({"observations": {"image": 1}}, "trajectory 1: observations is not an array of numbers"),
        ({"actions": 1.0}, "trajectory 1: actions has shape"),
        ({"actions": [0, 1, 1, 0]}, "trajectory 1: actions has shape"),
        ({"actions": np.ones((4, 0))}, "trajectory 1: actions has shape"),
        ({"actions": [[0.0, 1.0], [0.0]] * 2}, "trajectory 1: actions is not an array of numbers"),
        ({"rewards": ["a"] * 4}, "trajectory 1: rewards is not an array of numbers"),
        ({"rewards": np.array([0, np.nan, 0, 0])}, "non-finite number in rewards of trajectory 1"),
        ({"observations": np.full((4, 3), np.inf)}, "non-finite number in observations of trajectory 1"),
        ({"observations": np.full((4, 3), 1e300)}, "non-finite number in observations of trajectory 1"),
    ],
)
def test_from_episodes_refuses(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        from_episodes([given(2), given(4, **change)])


def test_the_state_after_the_last_step_is_known_everywhere_or_nowhere() -> None:
    longer = given(observations=np.ones((5, 3)))
    assert "trajectory 1 has the state after its last step, unlike trajectory 0" in refusal(given(), longer)
    assert "trajectory 2 lacks the state after its last step" in refusal(longer, longer, given())


def test_achieved_is_kept_everywhere_or_nowhere() -> None:
    reached = np.arange(8.0).reshape(4, 2)
    picked = from_episodes([given(achieved=reached), given(achieved=-reached)])
    np.testing.assert_array_equal(picked.achieved, np.concatenate([reached, -reached]))
    assert "give it everywhere" in refusal(given(), given(achieved=reached))
    assert "give it everywhere" in refusal(given(achieved=reached), given())


# The action box


def box(*rows: list[float]) -> dict[str, Any]:
    return {"observations": np.zeros((len(rows), 1)), "actions": list(rows), "rewards": np.zeros(len(rows))}


@pytest.mark.parametrize("value", [-2.5, 1.01, 300.0])
def test_actions_beyond_the_box_are_refused(value: float) -> None:
    low, high = min(value, 0.5), max(value, 0.5)
    message = refusal(box([0.5, value]))
    assert f"actions go from {low:g} to {high:g}, beyond the [-1, 1]" in message
    assert "name the environment's own box, action_scale=(low, high)" in message


def test_actions_at_the_edge_are_kept_within_it() -> None:
    picked = from_episodes([box([1.0 + 1e-6, -1.0 - 1e-6], [0.25, -1.0])])
    assert picked.actions.tolist() == [[1.0, -1.0], [0.25, -1.0]]


@pytest.mark.parametrize("scale", [(-2.0, 6.0), ([-2.0, -2.0], [6.0, 6.0]), (np.full(2, -2), np.full(2, 6))])
def test_actions_are_rescaled(scale: Any) -> None:
    picked = from_episodes([box([-2.0, 6.0], [2.0, 4.0])], action_scale=scale)
    assert picked.actions.tolist() == [[-1.0, 1.0], [0.0, 0.5]]


def test_each_action_has_a_box_of_its_own() -> None:
    picked = from_episodes([box([0.0, 5.0], [1.0, 0.0])], action_scale=([0.0, -5.0], [1.0, 5.0]))
    assert picked.actions.tolist() == [[-1.0, 1.0], [1.0, 0.0]]


def test_a_box_that_does_not_hold_the_actions_is_refused() -> None:
    message = refusal(box([0.0, 3.0]), action_scale=(0, 2))
    assert message.startswith("actions go from 0 to 3, beyond action_scale=(0, 2)")


@pytest.mark.parametrize(
    "scale", [(1, 1), (2, -2), (0, np.inf), (np.nan, 1), (1,), (1, 2, 3), 5, ([0, 0, 0], 1), ("a", 1)]
)
def test_a_box_that_is_none_is_refused(scale: Any) -> None:
    assert "action_scale must be (low, high)" in refusal(box([0.0, 0.5]), action_scale=scale)
    refusal(box([0.0, 0.5]), action_scale=(np.zeros(100), np.ones((3, 3))))  # one line, too
