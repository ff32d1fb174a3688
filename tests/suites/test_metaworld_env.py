"""The faults of Meta-World that its bodies here must not have (FACTS sections 2 and 10). Needs the metaworld extra."""

import hashlib
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from trajtune.suites import get_suite
from trajtune.suites.metaworld import ML45_TEST, ML45_TRAIN, NAMES
from trajtune.suites.metaworld_env import MetaWorldEnv

metaworld = pytest.importorskip("metaworld")

FEW = ["bin-picking-v3", "box-close-v3", "door-lock-v3"]  # nothing of the model moves; a rejected draw; a body moves
few_names = pytest.mark.parametrize("name", FEW)
every_name = pytest.mark.parametrize(
    "name", [*FEW, *(pytest.param(n, marks=pytest.mark.slow) for n in NAMES if n not in FEW)]
)
ACTIONS = np.random.default_rng(0).uniform(-1.0, 1.0, (40, 4))


@pytest.fixture(autouse=True)
def _global_state_is_untouched() -> Any:
    """Whatever a test does with our bodies, NumPy's global generator must not notice."""
    np.random.seed(7)  # noqa: NPY002
    before = np.random.get_state()  # noqa: NPY002
    yield
    for one, other in zip(before, np.random.get_state(), strict=True):  # noqa: NPY002
        np.testing.assert_array_equal(one, other)


def episode(env: MetaWorldEnv, seed: int | None, steps: int = 40, **options: Any) -> bytes:
    """Every bit of an episode's observations and rewards."""
    bits = env.reset(seed=seed, **options)[0].tobytes()
    for action in ACTIONS[:steps]:
        observation, reward, *_ = env.step(action)
        bits += observation.tobytes() + np.float64(reward).tobytes()
    return bits


def library(name: str, rand_vec: np.ndarray) -> Any:
    """The library's own environment on its way, but for the unpickling: the random vector frozen, the goal shown."""
    env = metaworld.env_dict.ENV_CLS_MAP[name](reward_function_version="v2")
    env._set_task_called, env._partially_observable = True, False
    del env.sawyer_observation_space
    env._last_rand_vec = rand_vec
    return env


# Seeds


@every_name
def test_bits_are_the_librarys_for_the_same_goal(name: str) -> None:
    ours = MetaWorldEnv(name, 200)
    seen, _ = ours.reset(seed=3)
    theirs = library(name, ours.rand_vec)
    np.testing.assert_array_equal(seen[:39], theirs.reset()[0])
    for action in ACTIONS:
        observation, reward, _, _, info = ours.step(action)
        expected, their_reward, _, _, their_info = theirs.step(action)
        np.testing.assert_array_equal(observation[:39], expected)
        assert reward == their_reward
        assert info["success"] == bool(their_info["success"]) == bool(observation[39])


@every_name
def test_a_seed_decides_an_episode_in_any_order(name: str) -> None:
    fresh, used = MetaWorldEnv(name, 200), MetaWorldEnv(name, 200)
    expected = episode(fresh, 5)
    episode(used, 6, steps=13)
    assert episode(used, 5) == expected
    assert episode(used, 6) != expected


@few_names
def test_a_seed_decides_an_episode_in_any_process(name: str) -> None:
    code = (
        "import hashlib\nfrom tests.suites.test_metaworld_env import episode\n"
        "from trajtune.suites.metaworld_env import MetaWorldEnv\n"
        f"print(hashlib.sha256(episode(MetaWorldEnv({name!r}, 200), 5)).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(episode(MetaWorldEnv(name, 200), 5)).hexdigest()


@every_name
def test_bodies_that_share_a_model_do_not_disturb_each_other(name: str) -> None:
    one, other = MetaWorldEnv(name, 200), MetaWorldEnv(name, 200)
    assert one._env.model is other._env.model
    expected = episode(one, 5)
    bits = one.reset(seed=5)[0].tobytes()
    other.reset(seed=6)
    for action in ACTIONS:
        observation, reward, *_ = one.step(action)
        bits += observation.tobytes() + np.float64(reward).tobytes()
        other.step(-action)
    MetaWorldEnv(name, 200)
    assert bits == expected


@few_names
def test_a_reset_without_a_seed_goes_on_to_another_goal(name: str) -> None:
    env = MetaWorldEnv(name, 200)
    vectors = []
    for seed in (5, None, None):
        env.reset(seed=seed)
        vectors.append(tuple(env.rand_vec))
    assert len(set(vectors)) == 3


@few_names
def test_a_stored_vector_gives_the_episode_again(name: str) -> None:
    env = MetaWorldEnv(name, 200)
    expected, vector = episode(env, 5), env.rand_vec
    assert episode(MetaWorldEnv(name, 200), None, rand_vec=vector) == expected


def test_the_first_seed_is_a_seed() -> None:  # Meta-World's own benchmarks take 0 for none
    env = MetaWorldEnv("door-lock-v3", 200)
    assert episode(env, 0) == episode(env, 0) != episode(env, 1)


def test_nothing_is_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any) -> None:
        raise AssertionError("something was unpickled")

    monkeypatch.setattr(pickle, "loads", never)
    for name in ("metaworld-ml45", "metaworld-ml1-pick-place"):
        suite = get_suite(name)
        suite.make(suite.task(suite.test[0])).reset(seed=0)


# Reward, success, the end


def test_the_reward_is_version_2_and_said_to_be() -> None:
    assert MetaWorldEnv("bin-picking-v3", 200)._env.reward_function_version == "v2"


@pytest.mark.parametrize("horizon", [101, 500])
def test_an_episode_ends_at_the_horizon_and_not_before(horizon: int) -> None:
    env = MetaWorldEnv("drawer-close-v3", horizon)
    for seed in (0, 1):  # the library raises at step 501 unless it was reset
        env.reset(seed=seed)
        ends = [env.step(np.zeros(4))[2:4] for _ in range(horizon)]
        assert ends == [(False, False)] * (horizon - 1) + [(False, True)]


def test_actions_outside_the_box_are_clipped() -> None:
    env = MetaWorldEnv("bin-picking-v3", 200)
    env.reset(seed=0)
    inside = [env.step(np.array([1.0, -1.0, 1.0, 1.0]))[:2] for _ in range(5)]
    env.reset(seed=0)
    outside = [env.step(np.array([3.0, -9.0, 2.0, 5.0]))[:2] for _ in range(5)]
    for one, other in zip(inside, outside, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1] == other[1]


def test_the_goal_is_visible_in_every_step() -> None:
    suite = get_suite("metaworld-ml45")
    env = suite.make(suite.task(45))
    observation, _ = env.reset(seed=0)
    for _ in range(3):
        assert suite.view(observation)[36:].any()
        observation, *_ = env.step(np.zeros(4))


# Tables


def test_names_and_splits_are_the_librarys() -> None:
    theirs = metaworld.env_dict.ML45_V3
    assert [f"{name}-v3" for name in ML45_TRAIN] == list(theirs["train"])
    assert [f"{name}-v3" for name in ML45_TEST] == list(theirs["test"])
    assert set(NAMES) == set(metaworld.env_dict.MT50_V3)


def test_goals_are_those_of_the_librarys_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors: list[np.ndarray] = []
    monkeypatch.setattr(metaworld, "_encode_task", lambda name, data: vectors.append(data["rand_vec"]))
    metaworld.ML1("pick-place-v3", seed=0)
    stored = [task.goal for task in get_suite("metaworld-ml1-pick-place").tasks]
    np.testing.assert_allclose(np.array(vectors[:50])[:, 3:], stored, rtol=0, atol=1e-12)


def test_a_task_of_ml1_keeps_its_goal_and_moves_the_puck() -> None:
    suite = get_suite("metaworld-ml1-pick-place")
    env = suite.make(suite.task(11))
    pucks = set()
    for seed in range(4):
        observation, _ = env.reset(seed=seed)
        np.testing.assert_array_equal(observation[36:39], suite.task(11).goal)
        np.testing.assert_array_equal(suite.view(observation)[36:], 0.0)
        pucks.add(tuple(observation[4:7]))
    assert len(pucks) == 4
