"""Episodes of every suite: the same bits from the same seed, and where they end."""

import numpy as np
import pytest

from tests.suites.episodes import ANT, OURS, VELOCITY, Episode, random_actions
from trajtune.suites import get_suite

every_suite = pytest.mark.parametrize("name", OURS)


# Seeds


@every_suite
def test_same_seed_gives_the_same_bits(name: str) -> None:
    suite = get_suite(name)
    actions = random_actions(suite, suite.horizon(0))
    first, second = Episode(suite, 1, 5, actions), Episode(suite, 1, 5, actions)
    assert first.bits == second.bits
    assert first.bits != Episode(suite, 1, 6, actions).bits


@every_suite
def test_reset_leaves_nothing_of_the_episode_before(name: str) -> None:
    suite = get_suite(name)
    actions = random_actions(suite, suite.horizon(0))
    env = suite.make(suite.task(1))

    def run(seed: int | None, steps: int) -> tuple[bytes, list[bool]]:
        observation, _ = env.reset(seed=seed)
        bits, truncations = observation.tobytes(), []
        for action in actions[:steps]:
            observation, reward, _, truncated, info = env.step(action)
            bits += observation.tobytes() + np.float64(reward).tobytes() + info["achieved"].tobytes()
            truncations.append(truncated)
        return bits, truncations

    whole, truncations = run(5, suite.horizon(0))
    unfinished, _ = run(5, 17)
    assert whole.startswith(unfinished)
    assert run(5, suite.horizon(0)) == (whole, truncations)
    assert run(6, 0)[0] != run(5, 0)[0]
    assert run(None, 0)[0] != run(5, 0)[0]  # without a seed the generator goes on
    env.close()


@every_suite
def test_observations_are_not_overwritten_by_later_steps(name: str) -> None:
    suite = get_suite(name)
    env = suite.make(suite.task(0))
    observation, _ = env.reset(seed=0)
    kept, copy = [observation], [observation.copy()]
    for action in random_actions(suite, 3):
        observation, _, _, _, info = env.step(action)
        kept += [observation, info["achieved"]]
        copy += [observation.copy(), info["achieved"].copy()]
    assert all(np.array_equal(a, b) for a, b in zip(kept, copy, strict=True))
    env.close()


# Episode length


@pytest.mark.parametrize("name", [*VELOCITY, "cheetah-dir", "ant-dir", "point"])
def test_episode_is_cut_at_the_horizon_and_never_terminates(name: str) -> None:
    suite = get_suite(name)
    assert suite.horizon(0) == (30 if name == "point" else 200)
    episode = Episode(suite, 0, 0, random_actions(suite, suite.horizon(0), scale=2.0))
    assert not episode.terminated.any()
    assert not episode.truncated[:-1].any() and episode.truncated[-1]


@pytest.mark.parametrize("height", [1.2, 3.0])
def test_only_prompt_dt_ant_ends_when_set_above_the_healthy_heights(height: float) -> None:
    ends = {}
    for name in ANT:
        suite = get_suite(name)
        env = suite.make(suite.task(0))
        env.reset(seed=0)
        assert not env.step(np.zeros(8))[2]
        qpos, qvel = env.data.qpos.copy(), env.data.qvel.copy()  # type: ignore[attr-defined]
        qpos[2], qvel[2] = height, 0.0
        env.set_state(qpos, qvel)  # type: ignore[attr-defined]
        observation, _, terminated, truncated, _ = env.step(np.zeros(8))
        assert observation[0] > 1.0 and not truncated
        ends[name] = terminated
        env.close()
    assert ends == {"ant-dir": False, "ant-dir-pdt": True}


def test_ant_that_falls_by_itself_goes_on_in_ant_dir_and_ends_in_prompt_dt() -> None:
    """The variants share every step; they differ in the flag alone."""
    on, ending = get_suite("ant-dir"), get_suite("ant-dir-pdt")
    falls = 0
    for seed in range(6):
        actions = random_actions(on, 200, seed)
        first, second = Episode(on, 0, seed, actions), Episode(ending, 0, seed, actions)
        assert first.bits == second.bits
        height = first.observations[1:, 0]
        np.testing.assert_array_equal(second.terminated, (height < 0.2) | (height > 1.0))
        assert not first.terminated.any()
        np.testing.assert_array_equal(np.flatnonzero(first.truncated), [199])
        falls += bool(second.terminated.any())
    assert falls > 0
