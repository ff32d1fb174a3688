"""Losses as pure functions of tensors; equation numbers are the paper's. Every loss ends in one masked mean."""

import math

import torch
from torch import Tensor
from torch.distributions import Normal

from trajtune.types import Window


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` [...] where ``mask`` [...] is True: padding never counts, not even in the divisor."""
    zero = torch.zeros((), dtype=values.dtype, device=values.device)
    return torch.where(mask, values, zero).sum() / mask.sum().clamp_min(1)  # nothing valid: no loss


def sft_loss(mean: Tensor, actions: Tensor, mask: Tensor) -> Tensor:
    """Equation 3 (and 2): squared error of the actions [B, K, A], averaged over dimensions and valid steps [B, K].

    The paper's norm sums over action dimensions; we average, as its code base does. Alone that only rescales the loss;
    under a Q term it multiplies alpha by their number.
    """
    return masked_mean((actions - mean).square().mean(-1), mask)


def log_prob(dist: Normal, actions: Tensor, mask: Tensor) -> Tensor:
    """Log-density of actions [B, K, A], summed over action dimensions; zero where padded, so that ratios are one."""
    values = dist.log_prob(actions).sum(-1)
    return torch.where(mask, values, torch.zeros_like(values))


def dpo_loss(chosen: Tensor, rejected: Tensor, beta: float, mask: Tensor) -> Tensor:
    """Equation 4 from log pi/pi_ref of the preferred and of the dispreferred action, each [B, K]."""
    return masked_mean(-torch.nn.functional.logsigmoid(beta * chosen - beta * rejected), mask)


def surrogate(log_ratio: Tensor, advantages: Tensor, epsilon: float) -> Tensor:
    """min(r A, clip(r, 1 - epsilon, 1 + epsilon) A) of equations 6 and 9, [B, K]; ``log_ratio`` is log pi/pi_old.

    The minimum is r A with r bounded above where A >= 0 and below where A < 0; bounding the logarithm says the same
    without an overflowing exp, whose gradient would be 0 * inf.
    """
    above = log_ratio.clamp_max(math.log1p(epsilon))
    below = log_ratio.clamp_min(math.log1p(-epsilon))
    return torch.where(advantages >= 0, above, below).exp() * advantages


def ratio_metrics(log_ratio: Tensor, epsilon: float, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ratio pi/pi_old, and the share of steps with one outside 1 +- epsilon; ``log_ratio`` [B, K]."""
    ratio = log_ratio.exp()
    return masked_mean(ratio, mask), masked_mean(((ratio - 1.0).abs() > epsilon).float(), mask)


def kl_estimate(log_ratio: Tensor) -> Tensor:
    """Equation 7, the k3 estimator [B, K]: x - log x - 1 with x = pi_ref/pi; ``log_ratio`` is log pi/pi_ref."""
    return torch.exp(-log_ratio) + log_ratio - 1.0


def ppo_loss(log_ratio: Tensor, advantages: Tensor, epsilon: float, mask: Tensor) -> Tensor:
    """Equation 9: minus the clipped surrogate, all [B, K]."""
    return masked_mean(-surrogate(log_ratio, advantages, epsilon), mask)


def exact_kl(mean: Tensor, reference: Tensor, std: float) -> Tensor:
    """What (7) estimates: KL of two Normals of equal deviation, |mu - mu_ref|^2 / (2 sigma^2), [B, K, A] -> [B, K]."""
    return (mean - reference).square().sum(-1) / (2.0 * std**2)


def grpo_loss(
    log_ratio: Tensor, divergence: Tensor, advantages: Tensor, epsilon: float, beta: float, mask: Tensor
) -> Tensor:
    """Equations 5 and 6: minus the clipped surrogate, plus beta times the divergence (7) from the reference.

    ``log_ratio`` is log pi/pi_old, all [B, K]. The paper's sum over the group is a mean over its steps here.
    """
    return masked_mean(beta * divergence - surrogate(log_ratio, advantages, epsilon), mask)


def conservative_gap(random: Tensor, anchor: Tensor, scale: Tensor, kind: str, floor: Tensor | None) -> Tensor:
    """Equation 11's gap [members, B, K]: values of random actions lowered, those of the anchor raised, over ``scale``.

    ``random`` [members, B, K, N] is of N actions of mu, ``anchor`` [members, B, K] of the data's actions or of the
    policy's. ``kind`` is ``mean``, as printed, or ``logsumexp`` (CQL(H), Kumar et al. 2020, less log N, so that one
    action means the same in both). With ``floor`` [B, K] no random action is lowered below it (Cal-QL).
    """
    if floor is not None:
        random = random.maximum(floor.unsqueeze(-1))
    random = random / scale
    lowered = random.mean(-1) if kind == "mean" else torch.logsumexp(random, -1) - math.log(random.shape[-1])
    return lowered - anchor / scale


def n_step_target(window: Window, values: Tensor, gamma: float, n: int) -> tuple[Tensor, Tensor]:
    """Targets [B, K] of n steps, and where there is one [B, K] bool; ``values`` [B, K] are of the window's states.

    r_t + gamma r_t+1 + ... + gamma^k V(s_t+k), with k = n or as far as the window holds; nothing is added behind a
    terminal. n = 1 is equation 16. A step counts that is terminal, or behind which a state is known.
    """
    following, followed = _next(values), _next(window.present)
    valid = window.mask & (followed | window.terminals)
    one = window.rewards + gamma * torch.where(window.terminals, 0.0, following)
    target, goes_on = one, _next(valid) & window.mask & ~window.terminals
    for _ in range(n - 1):
        target = torch.where(goes_on, window.rewards + gamma * _next(target), one)
    return target, valid


def _next(values: Tensor) -> Tensor:
    """The values of the next step, [B, K] -> [B, K]; zero or False behind the last."""
    return torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)


def expectile_loss(difference: Tensor, expectile: float) -> Tensor:
    """|tau - 1(u < 0)| u^2 (Kostrikov et al. 2022, equation 4), elementwise."""
    return (expectile - (difference < 0).to(difference.dtype)).abs() * difference.square()


def advantage_weights(advantages: Tensor, temperature: float | Tensor, largest: float, mask: Tensor) -> Tensor:
    """exp(temperature * A / deviation of A), at most ``largest``, with mean 1 where ``mask``; all of one shape."""
    centred = advantages - masked_mean(advantages, mask)
    deviation = masked_mean(centred.square(), mask).sqrt().clamp_min(1e-8)
    weights = (temperature * centred / deviation).clamp_max(math.log(largest)).exp()
    return weights / masked_mean(weights, mask).clamp_min(1e-8)


def weighted_sft_loss(mean: Tensor, actions: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
    """Squared error of the actions as in equation 3, each step with its weight [B, K]."""
    return masked_mean(weights * (actions - mean).square().mean(-1), mask)
