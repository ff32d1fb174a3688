"""The two halves of goal-conditioned SAC: environments that draw goals, a replay buffer that relabels exactly.

Both plug into Stable-Baselines3's interfaces, so ``sbx.SAC`` itself stays as its authors wrote it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecEnv

from trajtune.suites.base import Array, Suite


class GoalVecEnv(VecEnv):
    """``n`` bodies of one suite that advance together; the observation [S + G] is the suite's with the goal behind it.

    Which goals and which initial states come next depends on (seed, round, body, episode) alone, so that a run that
    was killed goes on from the start of a round exactly as it would have.
    """

    def __init__(self, suite: Suite, goals: Array | None, n: int, seed: int) -> None:
        self._suite, self._goals, self._seed = suite, goals, seed
        self._envs = [suite.make(suite.tasks[0]) for _ in range(n)]
        goal_dim = len(suite.tasks[0].goal)
        observation_space = Box(-np.inf, np.inf, (suite.observation_dim + goal_dim,), np.float32)
        super().__init__(n, observation_space, Box(-1.0, 1.0, (suite.action_dim,), np.float32))
        self._goal = np.zeros((n, goal_dim))
        self._observation = np.zeros((n, suite.observation_dim))
        self._round, self._episode, self._t = 0, np.zeros(n, int), np.zeros(n, int)

    def begin_round(self, number: int) -> Array:
        """Start a new episode on every body and return the first observations [n, S + G]."""
        self._round = number
        self._episode[:] = 0
        return self.reset()

    def _begin_episode(self, i: int) -> None:
        rng = np.random.default_rng([self._seed, self._round, i, int(self._episode[i])])
        self._goal[i] = self._suite.random_goals(rng, 1)[0] if self._goals is None else rng.choice(self._goals)
        self._observation[i], _ = self._envs[i].reset(seed=int(rng.integers(2**31)))
        self._episode[i] += 1
        self._t[i] = 0

    def _full(self) -> Array:
        return np.concatenate([self._observation, self._goal], axis=1).astype(np.float32)

    def reset(self) -> Array:
        for i in range(self.num_envs):
            self._begin_episode(i)
        return self._full()

    def step_async(self, actions: Array) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[Array, Array, Array, list[dict[str, Any]]]:
        rewards, dones = np.zeros(self.num_envs, np.float32), np.zeros(self.num_envs, bool)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for i, env in enumerate(self._envs):
            self._observation[i], _, terminated, truncated, info = env.step(self._actions[i])
            rewards[i] = self._suite.reward(info["achieved"], self._actions[i], self._goal[i])
            infos[i]["achieved"] = info["achieved"]
            dones[i] = terminated or truncated
            if dones[i]:
                infos[i]["TimeLimit.truncated"] = truncated and not terminated
                infos[i]["terminal_observation"] = self._full()[i]
                self._begin_episode(i)
        return self._full(), rewards, dones, infos

    def close(self) -> None:
        for env in self._envs:
            env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self._envs[i], attr_name, None) for i in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError("bodies are set up by their suite")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError("bodies are driven by their suite")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False for _ in self._get_indices(indices)]


class RelabelBuffer(ReplayBuffer):
    """Replay with exact relabelling (FACTS section 3).

    Of every eight transitions drawn, three get a goal from the task distribution, three one near what was achieved,
    and two keep their own; the reward is recomputed from (achieved, action, goal). With ``relabel`` off it is an
    ordinary replay buffer. What is drawn depends on (seed, number of transitions stored) alone.
    """

    def __init__(self, *args: Any, suite: Suite, relabel: bool, seed: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._suite, self._relabel, self._seed = suite, relabel, seed
        self._goal_dim = len(suite.tasks[0].goal)
        self.achieved: Array | None = None

    def add(
        self, obs: Array, next_obs: Array, action: Array, reward: Array, done: Array, infos: Sequence[dict[str, Any]]
    ) -> None:
        rows = np.stack([info["achieved"] for info in infos])
        if self.achieved is None:
            self.achieved = np.zeros((self.buffer_size, *rows.shape), np.float32)
        self.achieved[self.pos] = rows
        super().add(obs, next_obs, action, reward, done, list(infos))

    def sample(self, batch_size: int, env: Any = None) -> ReplayBufferSamples:
        filled = self.buffer_size if self.full else self.pos
        rng = np.random.default_rng([self._seed, filled, 1])
        row, body = rng.integers(filled, size=batch_size), rng.integers(self.n_envs, size=batch_size)
        obs, next_obs = self.observations[row, body], self.next_observations[row, body]
        action, reward = self.actions[row, body], self.rewards[row, body]
        if self._relabel:
            assert self.achieved is not None
            achieved = self.achieved[row, body]
            goal = obs[:, -self._goal_dim :].copy()
            kind = np.arange(batch_size) % 8
            goal[kind < 3] = self._suite.random_goals(rng, int(np.sum(kind < 3)))
            near = (kind >= 3) & (kind < 6)
            goal[near] = self._suite.nearby_goals(rng, achieved[near])
            obs[:, -self._goal_dim :] = goal
            next_obs[:, -self._goal_dim :] = goal
            reward = self._suite.reward(achieved, action, goal).astype(np.float32)
        done = self.dones[row, body] * (1 - self.timeouts[row, body])
        data = (obs, action, next_obs, done.reshape(-1, 1), reward.reshape(-1, 1))
        return ReplayBufferSamples(*map(self.to_torch, data))
