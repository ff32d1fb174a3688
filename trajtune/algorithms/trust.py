"""How far a few-shot set can be trusted to say which other actions would have been better.

A critic learns how values change with actions from data that act differently in like states. Experts that act by
their mean do not: of them a critic may rank states perfectly and still know nothing of the slope dQ/da, along which a Q
term pushes (FACTS section 12: rank correlation did not tell when that is dangerous). What can be measured without a
simulator is how much of the actions the states do not explain; how much of what the policy still gets wrong about these
actions that is, for where it could learn much by imitation it should; and whether the critic says anything at all about
trajectories that it has not seen, which after five of them it may not.
"""

import math

import numpy as np
import torch
from torch import Tensor

from trajtune.algorithms.losses import masked_mean
from trajtune.data.sampling import draw_batch
from trajtune.data.trajectories import Trajectories
from trajtune.policy import Policy
from trajtune.seeds import stream

NOISE = 0.03, 0.06
"""Deviations of actions in like states, as a share of half the action box: below the first a critic is not trusted at
all, from the second on fully. It is what tells experts whom the agent already acts like."""
SHARE = 1.0 / 3.0, 0.5
"""The same for the share of the policy's squared error on the data's actions that is their noise. Of few-shot sets of
training tasks, experts' have at most 0.34, medium ones at least 0.42 (docs/results/selection.md)."""
EXPLAINED = 0.5
"""Share of the returns' variance that a critic must explain, on trajectories it has not seen, to be trusted fully."""
NEIGHBOURS, PROBES = 5, 512
WINDOWS = 64
"""That the policy's error is measured on."""


def trust_in_data(policy: Policy, data: Trajectories, seed: int) -> tuple[float, str]:
    """Return a number in [0, 1] that a critic's word is multiplied by, and if that is 0 why."""
    noise = action_noise(policy, data, seed)
    if (varied := _ramp(noise, *NOISE)) == 0.0:
        return (
            0.0,
            "in like states these trajectories do nearly the same: no critic can know which other actions are better",
        )
    if (learned := _ramp(noise**2 / max(squared_error(policy, data, seed), noise**2 * 1e-6), *SHARE)) == 0.0:
        return 0.0, "these trajectories act otherwise than the agent, and steadily: imitation has most to gain"
    return varied * learned, ""


def _ramp(value: float, nothing: float, full: float) -> float:
    return min(1.0, max(0.0, (value - nothing) / (full - nothing)))


@torch.no_grad()
def squared_error(policy: Policy, data: Trajectories, seed: int) -> float:
    """Return how far the policy is from the data's actions: squared, mean over dimensions and the steps of windows."""
    spec = policy.spec
    batch = draw_batch(data, stream(seed, "trust", "windows"), WINDOWS, spec.window, spec.prompt, spec.max_timesteps)
    batch = policy.prepare(batch.to(policy.device))
    missed = (policy(batch) - batch.window.actions).square().mean(-1)
    return float(masked_mean(missed, batch.window.mask))


def trust_in_critic(error: float) -> float:
    """Return another: what a critic explains, 1 - ``critic_error``, over ``EXPLAINED``; 0 where that is not known."""
    return 0.0 if math.isnan(error) else _ramp(1.0 - error, 0.0, EXPLAINED)


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
