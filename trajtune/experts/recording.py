"""Record episodes: n bodies of one task in step, under one policy, each with its own seed and noise."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from trajtune.errors import UserError
from trajtune.experts.actors import random_actor
from trajtune.seeds import stream
from trajtune.suites import get_suite
from trajtune.suites.base import Acting, Array, Suite

RANDOM_EPISODES = 20
CHUNK = 100
"""Episodes that are recorded, and held in memory, at once."""


@dataclass(frozen=True)
class Episode:
    """One recorded episode of T steps, as agent and store see it."""

    observations: Array  # [T, S]
    actions: Array  # [T, A]
    rewards: Array  # [T]
    achieved: Array | None  # [T, D], where the environment says it
    final_observation: Array  # [S]
    terminated: bool
    success: bool | None  # whether the goal was met at any step, where the environment says it
    seed: int

    @property
    def episode_return(self) -> float:
        return float(self.rewards.sum())


def mean_return(episodes: list[Episode]) -> float:
    """Return the mean of the episodes' returns."""
    return float(np.mean([e.episode_return for e in episodes]))


class _Recorder:
    """One body and what it has lived through."""

    def __init__(self, suite: Suite, task: int, seed: int) -> None:
        self._suite, self._seed = suite, seed
        self._env = suite.make(suite.task(task))
        self.observation, _ = self._env.reset(seed=seed)  # raw, as the policy sees it
        self.done = self._terminated = False
        self._steps: list[tuple[Array, Array, float]] = []
        self._infos: list[dict[str, Any]] = []

    def step(self, action: Array) -> None:
        before = self._suite.view(np.array(self.observation))
        self.observation, reward, self._terminated, truncated, info = self._env.step(action)
        self._steps.append((before, action, reward))
        self._infos.append({name: info[name] for name in ("achieved", "success") if name in info})
        self.done = self._terminated or truncated

    def close(self) -> Episode:
        self._env.close()
        observations, actions, rewards = (np.asarray(column) for column in zip(*self._steps, strict=True))
        achieved, success = self._told("achieved"), self._told("success") if self._suite.has_success else None
        return Episode(
            observations=observations,
            actions=actions,
            rewards=rewards,
            achieved=None if achieved is None else np.asarray(achieved),
            final_observation=self._suite.view(np.array(self.observation)),
            terminated=bool(self._terminated),
            success=None if success is None else any(map(bool, success)),
            seed=self._seed,
        )

    def _told(self, what: str) -> list[Any] | None:
        """What the environment said at every step, or None if it did not."""
        return [info[what] for info in self._infos] if all(what in info for info in self._infos) else None


def record(suite: Suite, task: int, acting: Acting, seeds: list[int], sampled: bool = True) -> list[Episode]:
    """Record one episode a seed. An episode depends on its seed alone, not on which others it is recorded with.

    The policy sees raw observations, the episode holds the suite's view of them. An episode that has ended before
    the others waits: its last observation is handed to the policy until all are done.
    """
    horizon = suite.horizon(task)
    shape = (horizon, suite.action_dim)
    noise = np.zeros((horizon, len(seeds), suite.action_dim))
    if sampled:
        noise = np.stack([stream(seed, "action noise").standard_normal(shape) for seed in seeds], axis=1)
    bodies = [_Recorder(suite, task, seed) for seed in seeds]
    act = acting(len(seeds))
    for t in range(horizon):
        actions = act(np.stack([body.observation for body in bodies]), noise[t]).astype(np.float32)
        if actions.shape != noise[t].shape:
            raise UserError(f"a policy of suite {suite.name} gave actions {actions.shape}, expected {noise[t].shape}")
        for body, action in zip(bodies, actions, strict=True):
            if not body.done:
                body.step(action)
        if all(body.done for body in bodies):
            break
    return [body.close() for body in bodies]


def record_seeds(seed: int, task: int, kind: str, count: int) -> list[int]:
    """Reset seeds of recorded episodes; ``kind`` keeps qualities apart. Evaluation draws from another stream."""
    return [int(s) for s in stream(seed, "record", task, kind).integers(2**31, size=count)]


def random_return(suite: Suite, seed: int, task: int, episodes: int = RANDOM_EPISODES) -> float:
    """The random policy's mean return. It does not see the goal: relabelled, the same episodes serve every task."""
    if suite.relabel is None:
        return mean_return(record(suite, task, random_actor, record_seeds(seed, task, "random", episodes)))
    goal = np.asarray(suite.task(task).goal)
    rewards = [suite.relabel.reward(e.achieved, e.actions, goal) for e in _random_episodes(suite.name, seed, episodes)]
    return float(np.mean([np.sum(each) for each in rewards]))


@functools.cache
def _random_episodes(suite: str, seed: int, episodes: int) -> list[Any]:
    return record(get_suite(suite), 0, random_actor, record_seeds(seed, 0, "random", episodes))
