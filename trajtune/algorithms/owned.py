"""What algorithms own beside the policy: critics under an optimiser, moving averages, tensors to be checkpointed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from trajtune.agents import initialise_critic
from trajtune.algorithms.losses import td_target
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


class TwinCritics:
    """Two Q networks as one batch, their moving averages, and the optimiser of the former."""

    def __init__(self, inputs: int, seed: int, device: torch.device, learning_rate: float) -> None:
        self.critic = initialise_critic(inputs, 2, seed).to(device).requires_grad_(False)
        self.target_critic = initialise_critic(inputs, 2, seed).to(device).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.critic.parameters(), learning_rate, fused=True)

    @torch.no_grad()
    def target(self, states: Tensor, actions: Tensor, window: Window, gamma: float) -> Tensor:
        """Equation 16 for every step [B, K]: what follows is the next of ``states`` and ``actions``, [B, K, *]."""
        following = self.target_critic(states.roll(-1, dims=1), actions.roll(-1, dims=1))
        return td_target(window.rewards, window.terminals, following, gamma)

    def follow(self, tau: float) -> None:
        follow(dict(self.target_critic.named_parameters()), dict(self.critic.named_parameters()), tau)

    def state(self) -> dict[str, Tensor]:
        critic, target = self.critic.state_dict(), self.target_critic.state_dict()
        return {**prefixed("critic.", critic), **prefixed("target_critic.", target)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.critic.load_state_dict(under("critic.", state))
        self.target_critic.load_state_dict(under("target_critic.", state))


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
