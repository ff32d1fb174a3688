"""What every suite promises: splits, seeds, episode length, rewards that relabel exactly, goals and errors."""

import math
import re
from collections.abc import Callable

import numpy as np
import pytest

from trajtune.errors import UserError
from trajtune.suites import SUITES, Suite, get_suite

VELOCITY = ["cheetah-vel", "cheetah-vel-pdt"]
ANT = ["ant-dir", "ant-dir-pdt"]
every_suite = pytest.mark.parametrize("name", list(SUITES))


class Episode:
    """The arrays of one episode under given actions; it goes on after a termination."""

    def __init__(self, suite: Suite, task: int, seed: int, actions: np.ndarray) -> None:
        env = suite.make(suite.task(task))
        first, _ = env.reset(seed=seed)
        observations, rewards, terminated, truncated, achieved = [first], [], [], [], []
        for action in actions:
            observation, reward, ended, cut, info = env.step(action)
            observations.append(observation)
            rewards.append(reward)
            terminated.append(ended)
            truncated.append(cut)
            achieved.append(info["achieved"])
        env.close()
        self.observations, self.rewards, self.achieved = np.array(observations), np.array(rewards), np.array(achieved)
        self.terminated, self.truncated = np.array(terminated), np.array(truncated)

    @property
    def bits(self) -> bytes:
        return self.observations.tobytes() + self.rewards.tobytes() + self.achieved.tobytes()


def random_actions(suite: Suite, steps: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-scale, scale, (steps, suite.action_dim))


def goals(suite: Suite) -> np.ndarray:
    return np.array([task.goal for task in suite.tasks])


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


# Seeds


@every_suite
def test_same_seed_gives_the_same_bits(name: str) -> None:
    suite = get_suite(name)
    actions = random_actions(suite, suite.horizon)
    first, second = Episode(suite, 1, 5, actions), Episode(suite, 1, 5, actions)
    assert first.bits == second.bits
    assert first.bits != Episode(suite, 1, 6, actions).bits


@every_suite
def test_reset_leaves_nothing_of_the_episode_before(name: str) -> None:
    suite = get_suite(name)
    actions = random_actions(suite, suite.horizon)
    env = suite.make(suite.task(1))

    def run(seed: int | None, steps: int) -> tuple[bytes, list[bool]]:
        observation, _ = env.reset(seed=seed)
        bits, truncations = observation.tobytes(), []
        for action in actions[:steps]:
            observation, reward, _, truncated, info = env.step(action)
            bits += observation.tobytes() + np.float64(reward).tobytes() + info["achieved"].tobytes()
            truncations.append(truncated)
        return bits, truncations

    whole, truncations = run(5, suite.horizon)
    unfinished, _ = run(5, 17)
    assert whole.startswith(unfinished)
    assert run(5, suite.horizon) == (whole, truncations)
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
    assert suite.horizon == (30 if name == "point" else 200)
    episode = Episode(suite, 0, 0, random_actions(suite, suite.horizon, scale=2.0))
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


# Rewards


@every_suite
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_reward_of_a_batch_equals_the_reward_of_each_row(name: str, dtype: type) -> None:
    suite = get_suite(name)
    rng = np.random.default_rng(0)
    width = Episode(suite, 0, 0, random_actions(suite, 1)).achieved.shape[1]
    achieved = rng.normal(0.0, 2.0, (4, 16, width))
    actions = rng.uniform(-2.0, 2.0, (4, 16, suite.action_dim)).astype(dtype)
    wanted = suite.random_goals(rng, 64).reshape(4, 16, -1)
    rewards = suite.reward(achieved, actions, wanted)
    assert rewards.shape == (4, 16)
    one_goal = suite.reward(achieved, actions, wanted[0, 0])
    assert one_goal.shape == (4, 16)
    for row in np.ndindex(4, 16):
        assert rewards[row] == suite.reward(achieved[row], actions[row], wanted[row])
        assert one_goal[row] == suite.reward(achieved[row], actions[row], wanted[0, 0])


@every_suite
def test_relabelling_gives_the_other_tasks_rewards_exactly(name: str) -> None:
    suite = get_suite(name)
    actions = random_actions(suite, suite.horizon, scale=1.5)
    source = Episode(suite, 0, 3, actions)
    for task in {1, len(suite.tasks) // 2, len(suite.tasks) - 1}:
        other = Episode(suite, task, 3, actions)
        np.testing.assert_array_equal(other.observations, source.observations)
        goal = np.array(suite.task(task).goal)
        np.testing.assert_array_equal(suite.reward(source.achieved, actions, goal), other.rewards, strict=True)
        assert not np.array_equal(other.rewards, source.rewards)


@pytest.mark.parametrize(
    ("name", "achieved", "goal", "expected"),
    [
        ("cheetah-vel", [2.0], [0.5], -1.5 - 0.05 * 4.25),
        ("cheetah-vel", [-1.0], [0.5], -1.5 - 0.05 * 4.25),
        ("cheetah-dir", [2.0], [1.0], 2.0 - 0.05 * 4.25),
        ("cheetah-dir", [2.0], [-1.0], -2.0 - 0.05 * 4.25),
        ("ant-dir", [3.0, 4.0], [0.6, 0.8], 5.0 - 0.5 * 4.25 + 1.0),
        ("ant-dir", [3.0, 4.0], [-1.0, 0.0], -3.0 - 0.5 * 4.25 + 1.0),
        ("point", [0.3, -0.4], [0.0, 0.0], -0.5),
        ("point", [1.0, 2.0], [4.0, 6.0], -5.0),
    ],
)
def test_reward_by_hand(name: str, achieved: list[float], goal: list[float], expected: float) -> None:
    suite = get_suite(name)
    action = np.zeros(suite.action_dim)
    action[:2] = 0.5, -2.0  # squares sum to 4.25
    assert suite.reward(np.array(achieved), action, np.array(goal)) == pytest.approx(expected, rel=1e-12)


def mean_return(name: str, task: int, episodes: int, scale: float) -> float:
    suite = get_suite(name)
    returns = [
        Episode(suite, task, seed, random_actions(suite, suite.horizon, seed, scale)).rewards.sum()
        for seed in range(episodes)
    ]
    return float(np.mean(returns))


@pytest.mark.parametrize(
    ("name", "task", "zero", "random"),
    [
        ("cheetah-vel-pdt", 0, -16, -122),  # v* = 0.075
        ("cheetah-vel-pdt", 19, -300, -353),  # v* = 1.5
        ("cheetah-vel-pdt", 39, -600, -639),  # v* = 3
        ("cheetah-vel", 0, -16, -122),
        ("cheetah-vel", 49, -600, -639),
        ("cheetah-dir", 0, 0, -29),
        ("ant-dir", 0, 200, -52),
    ],
)
def test_returns_of_doing_nothing_and_of_random_actions_are_those_measured_before(
    name: str, task: int, zero: float, random: float
) -> None:
    """The table of FACTS section 2, loosely: it was measured on few episodes, and so is this.

    Over 100 episodes random actions give -131, -341 and -641 (v* = 0.075, 1.5, 3), -41 (forward) and -67 (Ant), with
    standard deviations of 14, 32, 33, 33 and 45 an episode.
    """
    assert mean_return(name, task, 2, 0.0) == pytest.approx(zero, abs=6)
    assert mean_return(name, task, 8, 1.0) == pytest.approx(random, abs=50)


# Goals


@every_suite
@pytest.mark.parametrize("count", [1, 500])
def test_goals_have_shape_and_range(name: str, count: int) -> None:
    suite = get_suite(name)
    width = Episode(suite, 0, 0, random_actions(suite, 1)).achieved.shape[1]
    achieved = np.random.default_rng(1).normal(0.0, 3.0, (count, width))
    drawn = suite.random_goals(np.random.default_rng(2), count)
    near = suite.nearby_goals(np.random.default_rng(2), achieved)
    np.testing.assert_array_equal(drawn, suite.random_goals(np.random.default_rng(2), count))
    np.testing.assert_array_equal(near, suite.nearby_goals(np.random.default_rng(2), achieved))
    for goal in (drawn, near):
        assert goal.shape == (count, len(suite.tasks[0].goal)) and goal.dtype == np.float64
        if name in VELOCITY:
            assert np.all((goal >= 0.075) & (goal <= 3.0))
        elif name == "cheetah-dir":
            assert set(goal.ravel()) <= {-1.0, 1.0}
        else:
            np.testing.assert_allclose(np.linalg.norm(goal, axis=1), 1.0, rtol=1e-12)


@every_suite
def test_random_goals_cover_the_tasks(name: str) -> None:
    suite = get_suite(name)
    drawn = suite.random_goals(np.random.default_rng(0), 2000)
    gaps = np.linalg.norm(goals(suite)[:, None] - drawn[None], axis=-1).min(axis=1)
    assert gaps.max() < 0.05


def test_nearby_goals_are_near_what_was_achieved() -> None:
    rng = np.random.default_rng(0)
    velocities = rng.uniform(-1.0, 5.0, (2000, 1))
    off = get_suite("cheetah-vel").nearby_goals(rng, velocities) - np.clip(velocities, 0.075, 3.0)
    assert 0.05 < np.abs(off).mean() < 0.25
    np.testing.assert_array_equal(
        get_suite("cheetah-dir").nearby_goals(rng, np.array([[-2.0], [0.3]])), [[-1.0], [1.0]]
    )
    for name in ("ant-dir", "point"):
        angle = rng.uniform(-np.pi, np.pi, 2000)
        achieved = 3.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        near = get_suite(name).nearby_goals(rng, achieved)
        turn = (np.arctan2(near[:, 1], near[:, 0]) - angle + np.pi) % (2 * np.pi) - np.pi
        assert abs(turn.mean()) < 0.05 and 0.1 < turn.std() < 0.4


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
        lambda: suite.select("-1"),
    ):
        message = one_line_error(call)
        assert name in message and f"0 to {count - 1}" in message


@pytest.mark.parametrize("spec", ["", "tests", "Train", "0,,1", "0-3", "0;3", "1.5", "train,0", "0,3,", "a\nb"])
def test_malformed_selection_says_what_would_be_right(spec: str) -> None:
    message = one_line_error(lambda: get_suite("point").select(spec))
    assert repr(spec) in message
    for choice in ("all", "train", "test", "0,3,7"):
        assert choice in message


# The point robot


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
    assert suite.scripted is not None and suite.has_success
    for task in suite.tasks:
        goal = np.array([task.goal])
        env = suite.make(task)
        observation, _ = env.reset(seed=task.index)
        successes = []
        for _ in range(suite.horizon):
            action = suite.scripted(observation[None], goal)[0]
            assert np.all(np.abs(action) <= 1.0)
            observation, reward, _, _, info = env.step(action)
            distance = math.dist(observation, task.goal)
            assert reward == pytest.approx(-distance, abs=1e-12)
            assert bool(info["success"]) == (distance <= 0.1)
            successes.append(bool(info["success"]))
        assert not successes[0] and all(successes[11:])  # 1.1 away at most along one axis, 0.1 a step
        assert distance == pytest.approx(0.0, abs=1e-12)


def test_point_expert_takes_a_batch() -> None:
    suite = get_suite("point")
    assert suite.scripted is not None
    rng = np.random.default_rng(0)
    observations, wanted = rng.normal(0.0, 1.0, (8, 2)), suite.random_goals(rng, 8)
    actions = suite.scripted(observations, wanted)
    for row in range(8):
        one = suite.scripted(observations[row : row + 1], wanted[row : row + 1])
        np.testing.assert_array_equal(actions[row], one[0])
