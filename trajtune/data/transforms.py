"""What finetuning sees of a reward. Scores always use the real one."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from trajtune.data.setting import Reward
from trajtune.data.trajectories import Trajectories


class Transform(NamedTuple):
    """A transform of trajectories, and whether an acting agent sees its reward only at the end."""

    apply: Callable[[Trajectories], Trajectories]
    delayed: bool


def dense(data: Trajectories) -> Trajectories:
    """Rewards as they were recorded."""
    return data


def sparse(data: Trajectories) -> Trajectories:
    """The whole return arrives at the last step, zero before.

    So the return-to-go is the return at every step; and the last step is a terminal, because nothing but it says what
    the trajectory was worth: a TD target that looked beyond it, or left it out, would see no reward at all.
    """
    data = data.loaded()  # a copy, with one trajectory behind the other
    rewards = np.zeros_like(data.rewards)
    returns = data.returns.astype(np.float32)
    rewards[data.start + data.length - 1] = returns
    return replace(
        data,
        rewards=rewards,
        returns_to_go=np.repeat(returns, data.length),
        terminated=np.ones_like(data.terminated),
    )


REWARDS: Mapping[Reward, Transform] = {
    "dense": Transform(dense, delayed=False),
    "sparse": Transform(sparse, delayed=True),
}
