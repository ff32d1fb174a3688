"""The point robot: its steps, its success, its script."""

import math
from pathlib import Path

import numpy as np
import pytest

from trajtune.progress import silent
from trajtune.suites import get_suite
from trajtune.suites.base import Act, Suite


def script(suite: Suite, task: int, n: int) -> Act:
    source = suite.experts["scripted"]
    return source.acting(suite, task, source.ladders(suite, [task], Path(), 0, 0, silent)[task][-1])(n)


def test_point_moves_by_the_clipped_action() -> None:
    suite = get_suite("point")
    env = suite.make(suite.task(0))  # its goal is (1, 0)
    (x, y), _ = env.reset(seed=4)
    assert abs(x) <= 0.1 and abs(y) <= 0.1
    observation, reward, terminated, truncated, info = env.step(np.array([0.5, -3.0]))
    x, y = x + 0.05, y - 0.1
    np.testing.assert_allclose(observation, [x, y], rtol=1e-12)
    np.testing.assert_array_equal(info["achieved"], observation)
    assert reward == pytest.approx(-math.sqrt((x - 1.0) ** 2 + y**2), rel=1e-12)
    assert not (terminated or truncated or info["success"])


@pytest.mark.parametrize(("distance", "success"), [(0.0, True), (0.099, True), (0.101, False), (0.2, False)])
def test_point_succeeds_within_a_tenth_of_the_goal(distance: float, success: bool) -> None:
    suite = get_suite("point")
    env = suite.make(suite.task(0))
    observation, _ = env.reset(seed=0)
    for _ in range(15):
        step = (np.array([1.0 + 0.6 * distance, 0.8 * distance]) - observation) / 0.1
        observation, reward, _, _, info = env.step(step)
    assert reward == pytest.approx(-distance, abs=1e-12)
    assert bool(info["success"]) is success


def test_point_expert_reaches_every_goal() -> None:
    suite = get_suite("point")
    assert suite.has_success
    for task in suite.tasks:
        act = script(suite, task.index, 1)
        env = suite.make(task)
        observation, _ = env.reset(seed=task.index)
        successes = []
        for _ in range(suite.horizon(0)):
            action = act(observation[None], np.zeros((1, 2)))[0]
            assert np.all(np.abs(action) <= 1.0)
            observation, reward, _, _, info = env.step(action)
            distance = math.dist(observation, task.goal)
            assert reward == pytest.approx(-distance, abs=1e-12)
            assert bool(info["success"]) == (distance <= 0.1)
            successes.append(bool(info["success"]))
        assert not successes[0] and all(successes[11:])  # 1.1 away at most along one axis, 0.1 a step
        assert distance == pytest.approx(0.0, abs=1e-12)


def test_point_expert_takes_a_batch() -> None:
    suite, observations = get_suite("point"), np.random.default_rng(0).normal(0.0, 1.0, (8, 2))
    actions = script(suite, 3, 8)(observations, np.zeros((8, 2)))
    one = script(suite, 3, 1)
    for row in range(8):
        np.testing.assert_array_equal(actions[row], one(observations[row : row + 1], np.zeros((1, 2)))[0])
