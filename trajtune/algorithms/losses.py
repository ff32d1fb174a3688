"""Losses as pure functions of tensors; equation numbers are the paper's. Every loss ends in one masked mean."""

import torch
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` [...] where ``mask`` [...] is True: padding never counts, not even in the divisor."""
    zero = torch.zeros((), dtype=values.dtype, device=values.device)
    return torch.where(mask, values, zero).sum() / mask.sum()


def sft_loss(mean: Tensor, actions: Tensor, mask: Tensor) -> Tensor:
    """Equation 3 (and 2): squared error of the actions [B, K, A], averaged over dimensions and valid steps [B, K].

    The paper's norm sums over action dimensions; averaging, as its code base does, only rescales the loss.
    """
    return masked_mean((actions - mean).square().mean(-1), mask)


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
