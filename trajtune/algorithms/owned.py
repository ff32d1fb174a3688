"""What algorithms own beside the policy: critics under an optimiser, moving averages, tensors to be checkpointed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trajtune.types import Window


@contextmanager
def learning(critic: nn.Module) -> Iterator[None]:
    """Let gradients into a critic, for its own update alone: the policy's loss sends nothing into it."""
    critic.requires_grad_(True)
    try:
        yield
    finally:
        critic.requires_grad_(False)


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, clip: float) -> Tensor:
    """Take one step down ``loss`` with the gradient's norm clipped; return the norm before clipping."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], clip)
    optimizer.step()
    return norm


def transitions(window: Window) -> Tensor:
    """Tell which steps [B, K] have a known successor: the next step of the window, or nothing after a terminal."""
    followed = torch.cat([window.mask[:, 1:], torch.zeros_like(window.mask[:, :1])], dim=1)
    return window.mask & (followed | window.terminals)


@torch.no_grad()
def follow(averages: Mapping[str, Tensor], values: Mapping[str, Any], tau: float) -> None:
    """Move averages towards the values of the same names: x' <- x' + tau (x - x')."""
    torch._foreach_lerp_(list(averages.values()), [values[name] for name in averages], tau)


def under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names start with ``prefix``, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with ``prefix`` before their names."""
    return {prefix + name: tensor for name, tensor in tensors.items()}
