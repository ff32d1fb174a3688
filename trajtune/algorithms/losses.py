"""Losses as pure functions of tensors; equation numbers are the paper's. Every loss ends in one masked mean."""

import math

import torch
from torch import Tensor
from torch.distributions import Normal


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` [...] where ``mask`` [...] is True: padding never counts, not even in the divisor."""
    zero = torch.zeros((), dtype=values.dtype, device=values.device)
    return torch.where(mask, values, zero).sum() / mask.sum().clamp_min(1)  # nothing valid: no loss


def sft_loss(mean: Tensor, actions: Tensor, mask: Tensor) -> Tensor:
    """Equation 3 (and 2): squared error of the actions [B, K, A], averaged over dimensions and valid steps [B, K].

    The paper's norm sums over action dimensions; averaging, as its code base does, only rescales the loss.
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


def grpo_loss(
    log_ratio: Tensor, reference_log_ratio: Tensor, advantages: Tensor, epsilon: float, beta: float, mask: Tensor
) -> Tensor:
    """Equations 5 and 6: minus the clipped surrogate, plus beta times the divergence (7) from the reference.

    ``log_ratio`` is log pi/pi_old, ``reference_log_ratio`` log pi/pi_ref, all [B, K]. The paper's sum over the group
    is a mean over its steps here.
    """
    divergence = kl_estimate(reference_log_ratio)
    return masked_mean(beta * divergence - surrogate(log_ratio, advantages, epsilon), mask)


def value_loss(values: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Squared error of V [B, K] from its target [B, K]: how the critic of (9) learns. The paper does not say."""
    return masked_mean((values - target).square(), mask)


def cql_loss(
    values: Tensor, target: Tensor, random_values: Tensor, anchor_values: Tensor, alpha: float, mask: Tensor
) -> Tensor:
    """Equations 10 and 11, summed over the critics: half the squared Bellman error, plus alpha times the gap.

    ``values`` [2, B, K] of the data's actions, ``random_values`` [2, B, K, N] of N actions of the random policy mu,
    ``anchor_values`` [2, B, K] of the current policy's; ``target`` [B, K].
    """
    bellman = 0.5 * (values - target).square()
    gap = random_values.mean(-1) - anchor_values
    return masked_mean((bellman + alpha * gap).sum(0), mask)


def td_target(rewards: Tensor, terminals: Tensor, next_values: Tensor, gamma: float) -> Tensor:
    """Equation 16: r + gamma * min_i Q'_i(s', a'), [B, K]. ``next_values`` [2, B, K]; nothing follows a terminal."""
    following = next_values.amin(0)
    return rewards + gamma * torch.where(terminals, torch.zeros_like(following), following)


def td_loss(values: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Equation 15: squared error of each critic's values [2, B, K] from one target [B, K], summed over critics."""
    return masked_mean((values - target).square().sum(0), mask)


def q_term(values: Tensor, scale_values: Tensor | None, mask: Tensor) -> Tensor:
    """Equations 13 and 14: the mean of Q(s, pi(s)) [B, K] that alpha weighs.

    With ``scale_values`` [B, K] it is divided by their detached mean magnitude, so that alpha is free of the
    reward's scale, as in the authors' earlier QT (FACTS section 1).
    """
    mean = masked_mean(values, mask)
    return mean if scale_values is None else mean / masked_mean(scale_values.detach().abs(), mask).clamp_min(1e-6)
