"""A few-shot set as flat transitions, with discounted returns: what critics are warmed up on, without a transformer."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from trajtune.data.trajectories import Array, Trajectories
from trajtune.policy import Policy


class Transitions(NamedTuple):
    """Every step of N trajectories, one behind the other: M in all. States are normalised as the agent has it."""

    states: Tensor  # [M, S]
    actions: Tensor  # [M, A]
    rewards: Tensor  # [M]
    returns: Tensor  # [M], discounted, Monte-Carlo
    weights: Tensor  # [M]: how much of the infinite sum the recorded part of a trajectory can hold
    next_states: Tensor  # [M, S]; where nothing is known of it, the state itself
    next_actions: Tensor  # [M, A], the data's; where there is none, the action itself
    terminal: Tensor  # [M] bool: nothing follows
    state_follows: Tensor  # [M] bool: the next state is known
    action_follows: Tensor  # [M] bool: the next action is known, too
    time: Tensor  # [M], the share of the longest trajectory that has passed
    step: float  # the share that one step is
    trajectory: Tensor  # [M] int64


def transitions_of(policy: Policy, data: Trajectories, gamma: float) -> Transitions:
    """Lay out trajectories that are in memory. ``weights`` is 1 - gamma^n, n steps before a time limit; else 1.

    A return that a time limit cuts off n steps later lacks gamma^n of what an endless one would hold.
    """
    count, longest = len(data.rewards), int(data.length.max())
    returns, weights, time = np.zeros(count), np.ones(count), np.zeros(count)
    following, which = np.arange(count), np.zeros(count, np.int64)
    last = np.zeros(count, bool)
    for i, (start, length) in enumerate(zip(data.start, data.length, strict=True)):
        rows = slice(start, start + length)
        returns[rows] = discounted(data.rewards[rows], gamma)
        if not data.terminated[i]:
            weights[rows] = 1.0 - gamma ** np.arange(length, 0, -1) if gamma < 1.0 else 1.0
        time[rows] = np.arange(length) / longest
        following[start : start + length - 1] += 1
        which[rows] = i
        last[start + length - 1] = True
    next_states = data.observations[following]
    if data.final_observations is not None:
        next_states[last] = data.final_observations[which[last]]
    terminal = last & data.terminated[which]
    known = ~last | (~terminal & (data.final_observations is not None))

    def tensor(array: Array) -> Tensor:
        return torch.from_numpy(array if array.dtype in (bool, np.int64) else array.astype(np.float32))

    return Transitions(
        policy.normalise(torch.from_numpy(data.observations).to(policy.device)).cpu(),
        tensor(data.actions),
        tensor(data.rewards),
        tensor(returns),
        tensor(weights),
        policy.normalise(torch.from_numpy(next_states).to(policy.device)).cpu(),
        tensor(data.actions[following]),
        tensor(terminal),
        tensor(known),
        tensor(~last),
        tensor(time),
        1.0 / longest,
        tensor(which),
    )


def discounted(rewards: Array, gamma: float) -> Array:
    """G_t = r_t + gamma G_t+1, [T] -> [T] float64."""
    found, after = np.zeros(len(rewards)), 0.0
    for t in range(len(rewards) - 1, -1, -1):
        found[t] = after = float(rewards[t]) + gamma * after
    return found


def folds_of(trajectories: int, members: int) -> int:
    """Into how many folds trajectories are dealt: member m leaves out those whose number is m modulo this.

    Five, or as many as there are members; with fewer trajectories, one each; with one alone, nothing is left out.
    """
    return 0 if trajectories < 2 else min(max(5, members), trajectories)
