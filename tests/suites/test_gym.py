"""``gym:ID``: any environment of Gymnasium with vectors in and out, against the environment itself."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from trajtune.errors import UserError
from trajtune.suites import get_suite


@pytest.mark.parametrize(("name", "dims", "steps"), [("Pendulum-v1", (3, 1), 200), ("Hopper-v5", (11, 3), 1000)])
def test_a_suite_of_one_task(name: str, dims: tuple[int, int], steps: int) -> None:
    suite = get_suite(f"gym:{name}")
    assert suite.name == f"gym:{name}" and [task.name for task in suite.tasks] == [name]
    assert suite.train == suite.test == (0,)
    assert (suite.observation_dim, suite.action_dim) == dims and suite.horizon(0) == steps
    assert suite.relabel is None and not suite.has_success and suite.expert_updates == 100_000


def test_actions_are_rescaled_and_clipped_to_the_box() -> None:
    """Pendulum takes torques in [-2, 2]; nothing else differs from Gymnasium's own environment."""
    suite, plain = get_suite("gym:Pendulum-v1"), gymnasium.make("Pendulum-v1")
    env = suite.make(suite.task(0))
    observation, _ = env.reset(seed=3)
    expected, _ = plain.reset(seed=3)
    for action, torque in [(0.0, 0.0), (1.0, 2.0), (-0.5, -1.0), (7.0, 2.0), (-7.0, -2.0)]:
        np.testing.assert_array_equal(observation, expected)
        observation, reward, terminated, truncated, _ = env.step(np.array([action], np.float32))
        expected, wanted, *_ = plain.step(np.array([torque], np.float32))
        assert type(reward) is float and reward == pytest.approx(float(wanted), rel=1e-6)
        assert terminated is False and truncated is False
        assert observation.dtype == np.float64 and observation.shape == (3,)
    env.close()
    plain.close()


def test_an_episode_ends_where_the_environment_says() -> None:
    suite, lengths, ends = get_suite("gym:Hopper-v5"), [], []
    for seed in range(4):
        env = suite.make(suite.task(0))
        env.reset(seed=seed)
        rng = np.random.default_rng(seed)
        terminated = truncated = False
        steps = 0
        while not (terminated or truncated):
            *_, terminated, truncated, _ = env.step(rng.uniform(-1.0, 1.0, 3))
            steps += 1
        env.close()
        lengths.append(steps)
        ends.append(terminated)
    assert all(ends) and len(set(lengths)) > 1 and max(lengths) < suite.horizon(0)


def test_the_time_limit_cuts_off() -> None:
    suite = get_suite("gym:Pendulum-v1")
    env = suite.make(suite.task(0))
    env.reset(seed=0)
    cuts = [env.step(np.zeros(1))[2:4] for _ in range(suite.horizon(0))]
    env.close()
    assert cuts == [(False, False)] * 199 + [(False, True)]


class Odd(gymnasium.Env):  # type: ignore[type-arg]
    """Spaces as they are given, and nothing behind them."""

    def __init__(self, observations: Any = None, actions: Any = None) -> None:
        self.observation_space = observations or Box(-1.0, 1.0, (2,))
        self.action_space = actions or Box(-1.0, 1.0, (2,))


@pytest.fixture
def odd(request: pytest.FixtureRequest) -> Any:
    gymnasium.register("TrajtuneOdd-v0", lambda: Odd(**request.param[0]), max_episode_steps=request.param[1])
    yield "TrajtuneOdd-v0"
    del gymnasium.registry["TrajtuneOdd-v0"]


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (({"actions": Box(-np.inf, np.inf, (2,))}, 5), "unbounded action box"),
        (({"actions": Box(np.zeros(2, np.float32), np.array([1.0, 0.0], np.float32))}, 5), "unbounded action box"),
        (({"observations": Box(0, 255, (8, 8, 3), np.uint8)}, 5), r"observations of the kind Box \(8, 8, 3\) of uint8"),
        (({"observations": Box(0, 255, (8,), np.uint8)}, 5), "only a float Box of one dimension"),
        (({}, None), "no time limit: register it with max_episode_steps"),
    ],
    indirect=["odd"],
)
def test_spaces_that_do_not_fit_are_one_line(odd: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        get_suite(f"gym:{odd}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("CartPole-v1", "gym:CartPole-v1 has actions of the kind Discrete"),
        ("Blackjack-v1", "gym:Blackjack-v1 has observations of the kind Tuple"),
        ("Hoper-v5", "Gymnasium makes no 'Hoper-v5'"),
        ("Hopper-v99", "Gymnasium makes no 'Hopper-v99'"),
        ("", "Gymnasium makes no ''"),
        ("no_such_package:Body-v0", "Gymnasium makes no 'no_such_package:Body-v0'"),
        ("a\nb", r"Gymnasium makes no 'a\\nb'"),
    ],
)
def test_what_gymnasium_does_not_have_is_one_line(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        get_suite(f"gym:{name}")
    assert "\n" not in str(caught.value)
