"""How much better an action was than expected: within a group (equation 8), or by a critic (GAE).

Both work on a grid of whole trajectories, [N, T]: row i is trajectory i, padded on the right.
"""

import torch
from torch import Tensor

from trajtune.data.trajectories import Trajectories


def grid(data: Trajectories) -> tuple[Tensor, Tensor]:
    """Return for each step of the grid its row in the flat arrays, and whether it is a step at all: [N, T] each.

    Padding has the row behind the last one, M: see ``table``.
    """
    start, length = torch.from_numpy(data.start), torch.from_numpy(data.length)
    step = torch.arange(int(length.max()))
    valid = step < length[:, None]
    return torch.where(valid, start[:, None] + step, len(data.rewards)), valid


def table(values: Tensor) -> Tensor:
    """Put a zero behind the values of all steps, [M] -> [M + 1]: what the grid's padding finds there."""
    return torch.cat([values, torch.zeros_like(values[:1])])


def standardise(values: Tensor, mask: Tensor, floor: float) -> Tensor:
    """Equation 8 along the first dimension, where ``mask``: subtract the mean, divide by the (population) deviation.

    A deviation of less than ``floor`` times the mean magnitude is none: the values are equal, and zero is returned.
    Without a floor, equal returns that differ by a rounding error have advantages of one (FACTS section 4).
    """
    nothing, count = torch.zeros_like(values), mask.sum(0).clamp_min(1)
    mean = torch.where(mask, values, nothing).sum(0) / count
    centred = torch.where(mask, values - mean, nothing)
    magnitude = torch.where(mask, values.abs(), nothing).sum(0) / count
    deviation = (centred.square().sum(0) / count).sqrt()
    equal = deviation <= (floor * magnitude).clamp_min(1e-8)
    return torch.where(equal, 0.0, centred / deviation.clamp_min(1e-8))


def groups(first: Tensor, task: Tensor, size: int) -> Tensor:
    """Tell who is in whose group, [N, N] bool; ``first`` [N, S] are the initial states, ``task`` [N] the tasks.

    The group of a trajectory is all of its task (``size`` 0), or itself and its ``size`` - 1 nearest in initial state.
    """
    same = task[:, None] == task
    if size == 0:
        return same
    distance = (first[:, None] - first).square().sum(-1)
    distance = distance.masked_fill(~same, torch.inf).fill_diagonal_(-1.0)  # itself comes first, whoever is equal
    nearest = distance.argsort(dim=1, stable=True)[:, :size]
    return torch.zeros_like(same).scatter(1, nearest, torch.ones_like(nearest, dtype=torch.bool)) & same


def group_advantages(values: Tensor, valid: Tensor, members: Tensor, floor: float) -> Tensor:
    """Equation 8 for every column of a grid: values [N, T] against those of the same column in the group, [N, T].

    One column of returns gives a trajectory's advantage; columns of returns-to-go give one to every step, against the
    group's trajectories that are as long.
    """
    return torch.stack([standardise(values, group[:, None] & valid, floor)[i] for i, group in enumerate(members)])


def gae(
    rewards: Tensor,
    values: Tensor,
    followed: Tensor,
    terminals: Tensor,
    final_values: Tensor,
    final_known: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """Generalised advantage estimates of whole trajectories (Schulman et al. 2015), [N, T].

    A_t = delta_t + gamma lambda A_t+1 with delta_t = r_t + gamma V_t+1 - V_t; ``rewards``, ``values``, ``followed``
    (a step follows) and ``terminals`` are [N, T]. Nothing follows a terminal: V_t+1 is 0. At a time limit V_t+1 is
    ``final_values`` [N], the value of the state that followed, where that is ``final_known`` [N]; where it is not,
    nobody knows what the last step was worth: its delta is 0.
    """
    cut = ~followed & ~terminals  # the last step of a time limit, and padding
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    following = torch.where(cut, final_values[:, None], torch.where(followed, following, torch.zeros_like(values)))
    delta = rewards + gamma * following - values
    delta = torch.where(cut & ~final_known[:, None], torch.zeros_like(delta), delta)
    advantages = []
    after = torch.zeros_like(delta[:, 0])
    for t in reversed(range(delta.shape[1])):
        after = delta[:, t] + gamma * lam * torch.where(followed[:, t], after, torch.zeros_like(after))
        advantages.append(after)
    return torch.stack(advantages[::-1], dim=1)
