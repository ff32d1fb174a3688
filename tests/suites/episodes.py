"""What the tests of suites share: whole episodes under given actions."""

import numpy as np

from trajtune.suites.base import Relabel, Suite

VELOCITY = ["cheetah-vel", "cheetah-vel-pdt"]
ANT = ["ant-dir", "ant-dir-pdt"]
OURS = [*VELOCITY, "cheetah-dir", *ANT, "point"]


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


def relabel(suite: Suite) -> Relabel:
    assert suite.relabel is not None
    return suite.relabel
