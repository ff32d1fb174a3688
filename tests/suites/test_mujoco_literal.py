"""The MuJoCo suites against a literal re-implementation in bare ``mujoco``, to the last bit. FACTS section 2.

Nothing here comes from Gymnasium but the XML files, and nothing from ``trajtune`` but the environments under test.
"""

import math
from collections.abc import Callable
from pathlib import Path

import gymnasium.envs.mujoco
import mujoco
import numpy as np
import pytest

from trajtune.suites import get_suite
from trajtune.suites.base import Env

ASSETS = Path(gymnasium.envs.mujoco.__file__).parent / "assets"
STEPS = 200
DT = 0.05  # 5 simulation steps of 0.01 s


class LiteralBody:
    """One body in bare MuJoCo: the reset noise, the five simulation steps and the torso's position."""

    def __init__(self, xml: str) -> None:
        self.model = mujoco.MjModel.from_xml_path(str(ASSETS / xml))
        assert self.model.opt.timestep == 0.01
        self.data = mujoco.MjData(self.model)
        self.torso = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_BODY, "torso")

    def reset(self, seed: int) -> None:
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = self.model.qpos0 + rng.uniform(-0.1, 0.1, self.model.nq)
        self.data.qvel[:] = 0.1 * rng.standard_normal(self.model.nv)
        mujoco.mj_forward(self.model, self.data)

    def simulate(self, action: np.ndarray) -> None:
        self.data.ctrl[:] = action
        for _ in range(5):
            mujoco.mj_step(self.model, self.data)


class LiteralCheetah(LiteralBody):
    def __init__(self, reward: Callable[[float], float]) -> None:
        super().__init__("half_cheetah.xml")
        self.reward = reward

    def observe(self) -> np.ndarray:
        return np.concatenate([self.data.qpos[1:], self.data.qvel, self.data.xpos[self.torso]])

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float]:
        x = float(self.data.qpos[0])
        self.simulate(action)
        vx = (float(self.data.qpos[0]) - x) / DT
        return self.observe(), self.reward(vx) - 0.05 * np.sum(action**2)


class LiteralAnt(LiteralBody):
    def __init__(self, angle: float) -> None:
        super().__init__("ant.xml")
        self.angle = angle

    def observe(self) -> np.ndarray:
        return np.concatenate([self.data.qpos[2:], self.data.qvel])

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float]:
        x, y, _ = self.data.xpos[self.torso].tolist()
        self.simulate(action)
        new_x, new_y, _ = self.data.xpos[self.torso].tolist()
        forward = (new_x - x) / DT * math.cos(self.angle) + (new_y - y) / DT * math.sin(self.angle)
        return self.observe(), forward - 0.5 * np.sum(action**2) + 1.0


def literal(suite_name: str, task: int) -> LiteralCheetah | LiteralAnt:
    """Return the literal environment, its goal worked out from the task's number alone."""
    if suite_name == "cheetah-dir":
        direction = [1.0, -1.0][task]
        return LiteralCheetah(lambda vx: direction * vx)
    if suite_name.startswith("cheetah-vel"):
        target = np.linspace(0.075, 3.0, {"cheetah-vel": 50, "cheetah-vel-pdt": 40}[suite_name])[task]
        return LiteralCheetah(lambda vx: -abs(vx - target))
    return LiteralAnt(2 * np.pi * task / 50)


def random_actions(env: Env, seed: int, scale: float) -> np.ndarray:
    size = env.action_space.shape[0]  # type: ignore[attr-defined]
    return np.random.default_rng(1000 + seed).uniform(-scale, scale, (STEPS, size))


CASES = [
    ("cheetah-vel", 0),
    ("cheetah-vel", 24),
    ("cheetah-vel", 49),
    ("cheetah-vel-pdt", 2),
    ("cheetah-vel-pdt", 26),
    ("cheetah-dir", 0),
    ("cheetah-dir", 1),
    ("ant-dir", 0),
    ("ant-dir", 14),
    ("ant-dir", 37),
    ("ant-dir-pdt", 6),
    ("ant-dir-pdt", 41),
]


@pytest.mark.parametrize("scale", [1.0, 2.5], ids=["inside the box", "outside the box"])
@pytest.mark.parametrize(("suite_name", "task"), CASES)
def test_observation_and_reward_equal_the_literal_environment(suite_name: str, task: int, scale: float) -> None:
    suite = get_suite(suite_name)
    env, reference = suite.make(suite.task(task)), literal(suite_name, task)
    seed = 7 + task
    actions = random_actions(env, seed, scale)
    observation, _ = env.reset(seed=seed)
    reference.reset(seed)
    np.testing.assert_array_equal(observation, reference.observe(), strict=True)
    for action in actions:
        observation, reward, terminated, _, _ = env.step(action)
        expected, expected_reward = reference.step(action)
        np.testing.assert_array_equal(observation, expected, strict=True)
        assert reward - expected_reward == 0.0
        height = float(reference.data.qpos[2])
        assert terminated == (suite_name == "ant-dir-pdt" and not 0.2 <= height <= 1.0)
    env.close()


@pytest.mark.parametrize(("suite_name", "weight"), [("cheetah-vel", 0.05), ("cheetah-dir", 0.05), ("ant-dir", 0.5)])
def test_control_cost_takes_the_unclipped_action(suite_name: str, weight: float) -> None:
    """The actuators clip, so that both actions move the body alike; the cost alone tells them apart."""
    suite = get_suite(suite_name)
    outcomes = []
    for size in (1.0, 3.0):
        env = suite.make(suite.task(0))
        env.reset(seed=3)
        outcomes.append(env.step(np.full(suite.action_dim, size))[:2])
        env.close()
    (clipped_observation, clipped), (observation, unclipped) = outcomes
    np.testing.assert_array_equal(observation, clipped_observation)
    assert clipped - unclipped == pytest.approx(weight * suite.action_dim * (9.0 - 1.0), rel=1e-12)
