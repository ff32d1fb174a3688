"""Record episodes: n bodies of one task in step, under one policy, each with its own seed and noise."""

from dataclasses import dataclass

import numpy as np

from trajtune.experts.policies import Acting
from trajtune.suites.base import Array, Suite


@dataclass(frozen=True)
class Episode:
    """One recorded episode of T steps."""

    observations: Array  # [T, S]
    actions: Array  # [T, A]
    rewards: Array  # [T]
    achieved: Array  # [T, D]
    final_observation: Array  # [S]
    terminated: bool
    seed: int

    @property
    def episode_return(self) -> float:
        return float(self.rewards.sum())


def record(suite: Suite, task: int, acting: Acting, seeds: list[int], sampled: bool = True) -> list[Episode]:
    """Record one episode a seed. An episode depends on its seed alone, not on which others it is recorded with."""
    goal = np.asarray(suite.task(task).goal)
    envs = [suite.make(suite.task(task)) for _ in seeds]
    noises = [np.random.default_rng([seed, 7]).standard_normal((suite.horizon, suite.action_dim)) for seed in seeds]
    noise = np.stack(noises, axis=1) if sampled else np.zeros((suite.horizon, len(seeds), suite.action_dim))
    observation = np.stack([env.reset(seed=seed)[0] for env, seed in zip(envs, seeds, strict=True)])
    goals = np.tile(goal, (len(seeds), 1))
    columns: list[list[tuple[Array, Array, float, Array]]] = [[] for _ in seeds]
    terminated, done = np.zeros(len(seeds), bool), np.zeros(len(seeds), bool)
    for t in range(suite.horizon):
        actions = acting(observation, goals, noise[t]).astype(np.float32)
        for i in np.flatnonzero(~done):
            before = observation[i].copy()
            observation[i], reward, terminated[i], truncated, info = envs[i].step(actions[i])
            columns[i].append((before, actions[i], reward, info["achieved"]))
            done[i] = terminated[i] or truncated
    for env in envs:
        env.close()
    episodes = []
    for number, (steps, seed) in enumerate(zip(columns, seeds, strict=True)):
        observations, taken, rewards, achieved = (np.asarray(column) for column in zip(*steps, strict=True))
        ended = bool(terminated[number])
        episodes.append(Episode(observations, taken, rewards, achieved, observation[number], ended, seed))
    return episodes


def relabelled_return(suite: Suite, episode: Episode, task: int) -> float:
    """The return that the same steps would have earned in another task: exact, because the reward is known."""
    goal = np.asarray(suite.task(task).goal)
    return float(np.sum(suite.reward(episode.achieved, episode.actions, goal)))


def seeds_for(seed: int, task: int, kind: int, count: int) -> list[int]:
    """Reset seeds of recorded episodes; ``kind`` keeps qualities apart. Evaluation draws from another stream."""
    return [int(s) for s in np.random.default_rng([seed, task, kind, 11]).integers(2**31, size=count)]
