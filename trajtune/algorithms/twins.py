"""Two Q networks and their moving averages: what CQL and QP own."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trajtune.algorithms.critics import initialise_critic
from trajtune.algorithms.losses import td_target
from trajtune.compute.tensors import Held
from trajtune.data.trajectories import Trajectories
from trajtune.policy import Policy
from trajtune.types import Window


class TwinCritics:
    """Two Q networks as one batch, which learn, and their moving averages, which do not."""

    def __init__(self, policy: Policy, data: Trajectories, seed: int) -> None:
        inputs = data.observations.shape[1] + data.actions.shape[1]
        self.critic = initialise_critic(inputs, 2, seed, "q").to(policy.device)
        self.averages = Held(dict(self.critic.named_parameters()))

    @torch.no_grad()
    def target(self, states: Tensor, actions: Tensor, window: Window, gamma: float) -> Tensor:
        """Equation 16 for every step [B, K]: what follows is the next of ``states`` and ``actions``, [B, K, *]."""
        following: Tensor = torch.func.functional_call(
            self.critic, self.averages.values(), (states.roll(-1, dims=1), actions.roll(-1, dims=1))
        )
        return td_target(window.rewards, window.terminals, following, gamma)

    def follow(self, tau: float) -> None:
        self.averages.follow(dict(self.critic.named_parameters()), tau)

    def networks(self) -> Mapping[str, nn.Module]:
        return {"critic": self.critic, "target_critic": self.averages}


def transitions(window: Window) -> Tensor:
    """Tell which steps [B, K] have a known successor: the next state of the window, or nothing after a terminal."""
    followed = torch.cat([window.present[:, 1:], torch.zeros_like(window.present[:, :1])], dim=1)
    return window.mask & (followed | window.terminals)
