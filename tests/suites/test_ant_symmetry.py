"""The ant's symmetries, asked of the simulator: it must not notice them."""

import numpy as np
import pytest

from trajtune.suites import get_suite
from trajtune.suites.ant_symmetry import copies, quarter_turned, seen
from trajtune.suites.base import Array

AHEAD = np.array([1.0, 0.0])


def stepped(qpos: Array, qvel: Array, actions: Array) -> tuple[Array, Array]:
    """Set an ant to a state and return what it observes before and after some actions."""
    suite = get_suite("ant-dir")
    env = suite.make(suite.task(0))
    env.reset(seed=0)
    env.unwrapped.set_state(qpos, qvel)  # type: ignore[attr-defined]
    before = env.unwrapped._get_obs()  # type: ignore[attr-defined]
    for action in actions:
        after = env.step(action)[0]
    return before, after


@pytest.fixture
def state() -> tuple[Array, Array, Array]:
    """Somewhere over the ground, tilted and turning, with two actions to come."""
    rng = np.random.default_rng(0)
    qpos = np.concatenate(
        [[0.3, -0.2, 0.7], [0.9, 0.1, -0.2, 0.4], rng.uniform(0.6, 1.0, 8) * [0, 1, 0, -1, 0, -1, 0, 1]]
    )
    qpos[3:7] /= np.linalg.norm(qpos[3:7])
    qpos[7::2] = rng.uniform(-0.3, 0.3, 4)
    return qpos, rng.normal(size=14), rng.uniform(-1, 1, (2, 8))


def world_turned(qpos: Array, qvel: Array, angle: float) -> tuple[Array, Array]:
    """Turn a state about the vertical axis, as MuJoCo has states: velocity of the world, spin of the torso."""
    c, s = np.cos(angle), np.sin(angle)
    w, x, y, z = qpos[3:7]
    a, b = np.cos(angle / 2), np.sin(angle / 2)
    quaternion = [a * w - b * z, a * x - b * y, a * y + b * x, a * z + b * w]
    plane = np.array([[c, -s], [s, c]])
    return (
        np.concatenate([plane @ qpos[:2], qpos[2:3], quaternion, qpos[7:]]),
        np.concatenate([plane @ qvel[:2], qvel[2:]]),
    )


def test_a_turned_world_looks_the_same_when_the_goal_turns_along(state: tuple[Array, Array, Array]) -> None:
    qpos, qvel, actions = state
    plain = [seen(each, AHEAD) for each in stepped(qpos, qvel, actions)]
    for angle in (0.7, 2.9, -1.6):
        goal = np.array([np.cos(angle), np.sin(angle)])
        turned = [seen(each, goal) for each in stepped(*world_turned(qpos, qvel, angle), actions)]
        np.testing.assert_allclose(turned, plain, atol=1e-9)


def test_the_legs_can_change_places(state: tuple[Array, Array, Array]) -> None:
    qpos, qvel, actions = state
    before, after = (seen(each, AHEAD) for each in stepped(qpos, qvel, actions))
    # The same robot, its left side called front: legs 2, 3, 4, 1 are then 1, 2, 3, 4, and by the axes in ant.xml ankles
    # 2 and 4 become ankles 1 and 3 with the other sign.
    a = np.sqrt(0.5)
    w, x, y, z = qpos[3:7]
    quaternion = [a * (w - z), a * (x + y), a * (y - x), a * (z + w)]
    joints, speeds = qpos[7:], qvel[6:]
    order, signs = [2, 3, 4, 5, 6, 7, 0, 1], np.array([1, -1, 1, 1, 1, -1, 1, 1])
    renamed = (
        np.concatenate([qpos[:3], quaternion, joints[order] * signs]),
        np.concatenate([qvel[:3], [qvel[4], -qvel[3], qvel[5]], speeds[order] * signs]),
    )
    turned_before, turned_actions = quarter_turned(np.tile(before, (2, 1)), actions)
    found = [seen(each, AHEAD) for each in stepped(*renamed, turned_actions)]
    np.testing.assert_allclose(found[0], turned_before[0], atol=1e-9)
    np.testing.assert_allclose(found[1], quarter_turned(after[None], actions[:1])[0][0], atol=1e-6)


def test_four_quarters_are_none_and_copies_are_drawn_of_all_four() -> None:
    rng = np.random.default_rng(1)
    state, actions = rng.normal(size=(400, 29)), rng.normal(size=(400, 8))
    turned, moved = state, actions
    ways = []
    for _ in range(4):
        turned, moved = quarter_turned(turned, moved)
        ways.append((turned, moved))
    np.testing.assert_allclose(turned, state)
    np.testing.assert_allclose(moved, actions)
    before, after, drawn = copies(rng, state.copy(), state.copy(), actions.copy())
    np.testing.assert_array_equal(before, after)
    which = np.array(
        [
            [np.allclose(b, t[i]) and np.allclose(d, m[i]) for t, m in ways]
            for i, (b, d) in enumerate(zip(before, drawn, strict=True))
        ]
    )
    assert (which.sum(axis=1) == 1).all()
    assert (which.mean(axis=0) > 0.15).all()
