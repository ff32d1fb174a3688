"""What SAC trains on: bodies that draw goals, and a replay buffer that relabels exactly.

Both plug into Stable-Baselines3's interfaces, so ``sbx.SAC`` itself stays as its authors wrote it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecEnv

from trajtune.seeds import stream
from trajtune.suites.base import Array, Relabel, Suite

ACHIEVED, SUCCESS = TOLD = "achieved", "success"  # what bodies may tell of a step beside the reward


def episode_stream(seed: int, round: int, body: int, episode: int) -> np.random.Generator:
    """What decides an episode: its goal, if it is drawn, then its reset seed."""
    return stream(seed, "expert episode", round, body, episode)


class SuiteVecEnv(VecEnv):
    """``n`` bodies of a suite that advance together; the observation [R + G] is the raw one with the goal behind it.

    With a ``task`` all are of that task and the reward is the environment's; without, every episode has a goal of the
    suite's distribution and the reward is relabelled. Which goals and initial states come next depends on (seed, round,
    body, episode) alone, so that a run that was killed goes on from the start of a round exactly as it would have.
    """

    def __init__(self, suite: Suite, task: int | None, n: int, seed: int) -> None:
        self._seed = seed
        # Relabelling promises that all tasks share one body, so that any of them will do.
        self._relabel = suite.relabel if task is None else None
        body = suite.task(task or 0)
        self._envs = [suite.make(body) for _ in range(n)]
        raw = np.asarray(self._envs[0].reset(seed=0)[0])
        self._goal, self._observation = np.tile(np.asarray(body.goal), (n, 1)), np.zeros((n, len(raw)))
        observation_space = Box(-np.inf, np.inf, (len(raw) + len(body.goal),), np.float32)
        super().__init__(n, observation_space, Box(-1.0, 1.0, (suite.action_dim,), np.float32))
        self._round, self._episode = 0, np.zeros(n, int)

    def begin_round(self, number: int) -> Array:
        """Start a new episode on every body and return the first observations [n, R + G]."""
        self._round = number
        self._episode[:] = 0
        return self.reset()

    def _begin_episode(self, i: int) -> None:
        rng = episode_stream(self._seed, self._round, i, int(self._episode[i]))
        if self._relabel is not None:
            self._goal[i] = self._relabel.random_goals(rng, 1)[0]
        self._observation[i], _ = self._envs[i].reset(seed=int(rng.integers(2**31)))
        self._episode[i] += 1

    def full(self) -> Array:
        """Return the observations with their goals [n, R + G]."""
        return np.concatenate([self._observation, self._goal], axis=1).astype(np.float32)

    def reset(self) -> Array:
        for i in range(self.num_envs):
            self._begin_episode(i)
        return self.full()

    def step_async(self, actions: Array) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[Array, Array, Array, list[dict[str, Any]]]:
        rewards, dones = np.zeros(self.num_envs, np.float32), np.zeros(self.num_envs, bool)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for i, env in enumerate(self._envs):
            self._observation[i], rewards[i], terminated, truncated, info = env.step(self._actions[i])
            if self._relabel is not None:
                rewards[i] = self._relabel.reward(info[ACHIEVED], self._actions[i], self._goal[i])
            infos[i].update({name: np.atleast_1d(info[name]).astype(float) for name in TOLD if name in info})
            dones[i] = terminated or truncated
            if dones[i]:
                infos[i]["TimeLimit.truncated"] = truncated and not terminated
                infos[i]["terminal_observation"] = self.full()[i]
                self._begin_episode(i)
        return self.full(), rewards, dones, infos

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
    and two keep their own; the reward is recomputed from (achieved, action, goal). Without ``relabel`` it is an
    ordinary replay buffer. What is drawn depends on (seed, number of transitions stored) alone.
    """

    pos: int  # of the row that comes next

    def __init__(self, *args: Any, relabel: Relabel | None, goal_dim: int, seed: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._relabel, self._seed, self._goal_dim = relabel, seed, goal_dim
        self._told: dict[str, Array] = {}

    def add(
        self, obs: Array, next_obs: Array, action: Array, reward: Array, done: Array, infos: Sequence[dict[str, Any]]
    ) -> None:
        for name in TOLD:
            if all(name in info for info in infos):
                told = np.stack([info[name] for info in infos])
                self._row(name, told)[self.pos] = told
        super().add(obs, next_obs, action, reward, done, list(infos))

    def _row(self, name: str, like: Array) -> Array:
        """The column of what is told under a name; ``like`` is one row of it."""
        if name not in self._told:
            self._told[name] = np.zeros((self.buffer_size, *like.shape), np.float32)
        return self._told[name]

    def columns(self, rows: slice) -> dict[str, Array]:
        """Return views of the transitions in some rows [rows, n, ...]."""
        names = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
        found: dict[str, Array] = {name: getattr(self, name)[rows] for name in names}
        return {**found, **{name: column[rows] for name, column in self._told.items()}}

    def append(self, columns: dict[str, Array]) -> None:
        """Put back what ``columns`` gave of the rows that come next."""
        rows = slice(self.pos, self.pos + len(columns["rewards"]))
        for name in columns.keys() & set(TOLD):
            self._row(name, columns[name][0])
        for name, view in self.columns(rows).items():
            view[:] = columns[name]
        self.pos = int(rows.stop)

    def sample(self, batch_size: int, env: Any = None) -> ReplayBufferSamples:
        filled = self.buffer_size if self.full else self.pos
        rng = stream(self._seed, "replay", filled)
        row, body = rng.integers(filled, size=batch_size), rng.integers(self.n_envs, size=batch_size)
        obs, next_obs = self.observations[row, body], self.next_observations[row, body]
        action, reward = self.actions[row, body], self.rewards[row, body]
        if self._relabel is not None:
            achieved = self._told[ACHIEVED][row, body]
            goal = obs[:, -self._goal_dim :].copy()
            kind = np.arange(batch_size) % 8
            goal[kind < 3] = self._relabel.random_goals(rng, int(np.sum(kind < 3)))
            near = (kind >= 3) & (kind < 6)
            goal[near] = self._relabel.nearby_goals(rng, achieved[near])
            obs[:, -self._goal_dim :] = goal
            next_obs[:, -self._goal_dim :] = goal
            reward = self._relabel.reward(achieved, action, goal).astype(np.float32)
        done = self.dones[row, body] * (1 - self.timeouts[row, body])
        data = (obs, action, next_obs, done.reshape(-1, 1), reward.reshape(-1, 1))
        return ReplayBufferSamples(*map(self.to_torch, data))
