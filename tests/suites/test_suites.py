"""What every suite says of itself: splits, tasks, dimensions, selection, and errors of one line."""

import math
import re
from collections.abc import Callable

import numpy as np
import pytest

from tests.suites.episodes import ANT, OURS, VELOCITY, goals
from trajtune.errors import UserError
from trajtune.suites import SUITES, get_suite

every_suite = pytest.mark.parametrize("name", OURS)


def one_line_error(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert message and len(message.splitlines()) == 1
    return message


# The registry


def test_registry_has_the_suites_of_the_plan() -> None:
    assert set(SUITES) >= {"cheetah-vel", "cheetah-vel-pdt", "cheetah-dir", "ant-dir", "ant-dir-pdt", "point"}


@every_suite
def test_suite_describes_itself(name: str) -> None:
    suite = get_suite(name)
    assert suite.name == name
    assert suite.summary and "\n" not in suite.summary
    assert suite.variant_of is None or suite.variant_of in SUITES
    assert [task.index for task in suite.tasks] == list(range(len(suite.tasks)))
    assert len({task.name for task in suite.tasks}) == len(suite.tasks)
    assert len({task.goal for task in suite.tasks}) == len(suite.tasks)
    assert len({len(task.goal) for task in suite.tasks}) == 1


@every_suite
def test_splits_are_disjoint_and_inside_the_tasks(name: str) -> None:
    suite = get_suite(name)
    for split in (suite.train, suite.test):
        assert split == tuple(sorted(set(split)))
        assert split and set(split) <= set(range(len(suite.tasks)))
    assert set(suite.train) | set(suite.test) == set(range(len(suite.tasks)))
    if name == "cheetah-dir":
        assert suite.train == suite.test == (0, 1)
        assert "train and test tasks are the same" in suite.summary
    else:
        assert not set(suite.train) & set(suite.test)


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [("cheetah-vel", 45, 5), ("ant-dir", 45, 5), ("ant-dir-pdt", 45, 5), ("cheetah-vel-pdt", 35, 5), ("point", 12, 4)],
)
def test_split_sizes(name: str, train: int, test: int) -> None:
    suite = get_suite(name)
    assert (len(suite.train), len(suite.test)) == (train, test)


def test_prompt_dt_velocities_have_its_own_test_targets() -> None:
    suite = get_suite("cheetah-vel-pdt")
    assert suite.test == (2, 7, 15, 23, 26)
    np.testing.assert_allclose(goals(suite)[:, 0], [0.075 * (i + 1) for i in range(40)], rtol=1e-12)


@pytest.mark.parametrize("name", VELOCITY)
def test_velocities_go_from_lowest_to_highest_evenly(name: str) -> None:
    suite = get_suite(name)
    velocities = goals(suite)[:, 0]
    assert velocities[0] == 0.075 and velocities[-1] == 3.0
    np.testing.assert_allclose(np.diff(velocities), (3.0 - 0.075) / (len(velocities) - 1), rtol=1e-9)
    assert [task.parameters["velocity"] for task in suite.tasks] == velocities.tolist()


@pytest.mark.parametrize("name", [*ANT, "point"])
def test_angles_go_once_around(name: str) -> None:
    suite = get_suite(name)
    angles = np.array([task.parameters["angle"] for task in suite.tasks])
    assert angles[0] == 0.0 and np.all((angles >= 0.0) & (angles < 2 * np.pi))
    np.testing.assert_allclose(np.diff(angles), 2 * np.pi / len(angles), rtol=1e-9)
    np.testing.assert_array_equal(goals(suite), [(math.cos(a), math.sin(a)) for a in angles])


def test_directions_are_forward_and_backward() -> None:
    suite = get_suite("cheetah-dir")
    assert [(task.name, task.goal) for task in suite.tasks] == [("forward", (1.0,)), ("backward", (-1.0,))]


@pytest.mark.parametrize("name", [*VELOCITY, *ANT, "point"])
def test_test_targets_are_interior(name: str) -> None:
    """A test target has a training task on either side; on a circle the neighbours wrap around."""
    suite = get_suite(name)
    last = len(suite.tasks) - 1
    for index in suite.test:
        below, above = index - 1, index + 1
        if name in VELOCITY:
            assert 0 < index < last
        else:
            below, above = below % (last + 1), above % (last + 1)
        assert below in suite.train and above in suite.train


@pytest.mark.parametrize(("name", "gap"), [("cheetah-vel", 10), ("ant-dir", 10)])
def test_test_targets_are_spread_out(name: str, gap: int) -> None:
    assert set(np.diff(get_suite(name).test)) == {gap}


@every_suite
def test_declared_dimensions_are_the_environments(name: str) -> None:
    suite = get_suite(name)
    env = suite.make(suite.task(0))
    observation, _ = env.reset(seed=0)
    assert observation.shape == (suite.observation_dim,) and observation.dtype == np.float64
    assert env.observation_space.shape == (suite.observation_dim,)  # type: ignore[attr-defined]
    box = env.action_space  # type: ignore[attr-defined]
    assert box.shape == (suite.action_dim,) and np.all(box.low == -1.0) and np.all(box.high == 1.0)
    after, reward, terminated, truncated, info = env.step(np.zeros(suite.action_dim))
    assert after.shape == (suite.observation_dim,) and after.dtype == np.float64
    assert type(reward) is float and type(terminated) is bool and type(truncated) is bool
    assert ("success" in info) == suite.has_success
    assert info["achieved"].ndim == 1
    env.close()


# Selecting, and what a user can get wrong


def test_select() -> None:
    suite = get_suite("cheetah-vel")
    assert suite.select("all") == list(range(50))
    assert suite.select("train") == list(suite.train)
    assert suite.select("test") == [5, 15, 25, 35, 45]
    assert suite.select("0,3,7") == [0, 3, 7]
    assert suite.select("7, 0") == [7, 0]
    assert suite.select("3,3,0,3") == [3, 0]
    assert suite.select("49") == [49]
    assert suite.select("4-7,2, 9-9") == [4, 5, 6, 7, 2, 9]


@pytest.mark.parametrize("name", ["hopper", "", "Point", "cheetah_vel", "a\nb"])
def test_unknown_suite_lists_the_choices(name: str) -> None:
    message = one_line_error(lambda: get_suite(name))
    assert repr(name) in message
    for choice in SUITES:
        assert re.search(rf"(?<![\w-]){choice}(?![\w-])", message)


@every_suite
def test_task_out_of_range_says_the_range(name: str) -> None:
    suite = get_suite(name)
    count = len(suite.tasks)
    for call in (
        lambda: suite.task(count),
        lambda: suite.task(-1),
        lambda: suite.select(str(count)),
        lambda: suite.select(f"0,{count}"),
        lambda: suite.select(f"0-{count}"),
        lambda: suite.select("-1"),
    ):
        message = one_line_error(call)
        assert name in message and f"0 to {count - 1}" in message


@pytest.mark.parametrize("spec", ["", "tests", "Train", "0,,1", "1-", "0--3", "0;3", "1.5", "train,0", "0,3,", "a\nb"])
def test_malformed_selection_says_what_would_be_right(spec: str) -> None:
    message = one_line_error(lambda: get_suite("point").select(spec))
    assert repr(spec) in message
    for choice in ("all", "train", "test", "0,3,7"):
        assert choice in message


def test_a_range_has_its_end_behind_its_beginning() -> None:
    assert "tasks 7-4 begin behind their end" in one_line_error(lambda: get_suite("point").select("1,7-4"))
