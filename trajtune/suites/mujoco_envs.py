"""Gymnasium's v5 HalfCheetah and Ant with the observations and rewards of the meta-RL literature.

FACTS section 2: the references' old XML files equal the v5 assets in every physics field, so only the observation
and the reward are overridden. Imported where an environment is made, because MuJoCo takes a while to load.
"""

import functools
from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np
from gymnasium.envs.mujoco.ant_v5 import AntEnv
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.spaces import Box

from trajtune.suites.base import Array


@functools.cache
def _compiled(path: str) -> mujoco.MjModel:
    """One model for all environments of a body: stepping many of them then stays within the processor's cache."""
    return mujoco.MjModel.from_xml_path(path)


Reward = Callable[[Array, Array, Array], Array]


class CheetahEnv(HalfCheetahEnv):
    """Observation [20]: qpos[1:] (8), qvel (9), torso position (3). Achieved [1]: forward velocity in m/s."""

    def __init__(self, reward: Reward, goal: tuple[float, ...], horizon: int, render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode)
        self.observation_space = Box(-np.inf, np.inf, (20,), np.float64)
        self._reward, self._goal, self._horizon, self._t = reward, np.asarray(goal), horizon, 0
        self._torso = self.model.body("torso").id

    def _initialize_simulation(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        model = _compiled(self.fullpath)
        return model, mujoco.MjData(model)

    def _get_obs(self) -> Array:
        data = self.data
        return np.concatenate([data.qpos[1:], data.qvel, data.xpos[self._torso]])

    def reset_model(self) -> Array:
        self._t = 0
        return super().reset_model()

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        before = self.data.qpos[0]
        self.do_simulation(action, self.frame_skip)
        achieved = np.array([(self.data.qpos[0] - before) / self.dt])
        self._t += 1
        reward = float(self._reward(achieved, action, self._goal))
        return self._get_obs(), reward, False, self._t >= self._horizon, {"achieved": achieved}


class DirectionAntEnv(AntEnv):
    """Observation [27]: qpos[2:] (13), qvel (14). Achieved [2]: torso velocity in the plane, m/s."""

    def __init__(
        self,
        reward: Reward,
        goal: tuple[float, ...],
        horizon: int,
        terminate_on_fall: bool = False,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(
            include_cfrc_ext_in_observation=False,
            terminate_when_unhealthy=terminate_on_fall,
            render_mode=render_mode,
        )
        self._reward, self._goal, self._horizon, self._t = reward, np.asarray(goal), horizon, 0
        self._torso = self.model.body("torso").id

    def _initialize_simulation(self) -> tuple[mujoco.MjModel, mujoco.MjData]:
        model = _compiled(self.fullpath)
        return model, mujoco.MjData(model)

    def reset_model(self) -> Array:
        self._t = 0
        return super().reset_model()

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        before = self.data.xpos[self._torso][:2].copy()
        self.do_simulation(action, self.frame_skip)
        achieved = (self.data.xpos[self._torso][:2] - before) / self.dt
        self._t += 1
        reward = float(self._reward(achieved, action, self._goal))
        terminated = bool(self._terminate_when_unhealthy and not self.is_healthy)
        return self._get_obs(), reward, terminated, self._t >= self._horizon, {"achieved": achieved}
