"""How far a few-shot set can be trusted to say which other actions would have been better.

A critic learns how values change with actions from data that act differently in like states. Experts that act by
their mean do not: of them a critic may rank states perfectly and still know nothing of the slope dQ/da, along which a Q
term pushes (FACTS section 12: rank correlation did not tell when that is dangerous). What can be measured without a
simulator is how much of the actions the states do not explain; and whether the critic says anything at all about
trajectories that it has not seen, which after five of them it may not.
"""

import math

import numpy as np
import torch
from torch import Tensor

from trajtune.data.trajectories import Trajectories
from trajtune.policy import Policy
from trajtune.seeds import stream

NOTHING, FULL = 0.07, 0.1
"""Deviations of actions in like states, as a share of half the action box: below the first a critic is not trusted at
all, from the second on fully. Of training tasks' few-shot sets, nine in ten of Cheetah-Vel's experts lie below 0.055
(50 trajectories) and 0.082 (5), nine in ten of Ant-Dir's medium above 0.070 (docs/results/selection.md)."""
EXPLAINED = 0.5
"""Share of the returns' variance that a critic must explain, on trajectories it has not seen, to be trusted fully."""
NEIGHBOURS, PROBES = 5, 512


def trust_in_data(policy: Policy, data: Trajectories, seed: int) -> float:
    """Return a number in [0, 1] that alpha is multiplied by: the action noise, from ``NOTHING`` to ``FULL``."""
    return min(1.0, max(0.0, (action_noise(policy, data, seed) - NOTHING) / (FULL - NOTHING)))


def trust_in_critic(error: float) -> float:
    """Return another: what a critic explains, 1 - ``critic_error``, over ``EXPLAINED``; 0 where that is not known."""
    return 0.0 if math.isnan(error) else min(1.0, max(0.0, (1.0 - error) / EXPLAINED))


@torch.no_grad()
def action_noise(policy: Policy, data: Trajectories, seed: int) -> float:
    """Estimate the deviation of actions around what their state explains, in units of the action box's half.

    At some steps, the actions at the nearest states of other trajectories are averaged, the nearer the more; what that
    misses at the step itself is the noise, less the neighbours' own share of it. A deterministic policy that bends
    between neighbours seems a little noisy. With one trajectory nothing can be compared: 0.
    """
    if len(data) < 2:
        return 0.0
    states = policy.normalise(torch.from_numpy(data.observations).to(policy.device)).cpu().double()
    actions = torch.from_numpy(data.actions).double()
    owner = torch.from_numpy(np.repeat(np.arange(len(data)), data.length))
    rng = stream(seed, "trust")
    probes = torch.from_numpy(rng.permutation(len(states))[:PROBES])
    distance = torch.cdist(states[probes], states)
    distance[owner[probes][:, None] == owner] = torch.inf
    count = min(NEIGHBOURS, len(states) - int(data.length.max()))
    near, rows = distance.topk(max(count, 1), largest=False)
    weights = torch.softmax(-near / near[:, :1].clamp_min(1e-9), dim=1)
    guess = (weights.unsqueeze(-1) * actions[rows]).sum(1)
    own = weights.square().sum(1, keepdim=True)  # the share of the neighbours' noise that is left in the guess
    close = _close(near[:, 0])
    missed = ((guess - actions[probes]).square().mean(1, keepdim=True) / (1.0 + own))[close]
    return float(missed.mean().sqrt())


def _close(nearest: Tensor) -> Tensor:
    """The half of the probes that has the nearest neighbours: there, states explain what they can."""
    return nearest <= nearest.median()
