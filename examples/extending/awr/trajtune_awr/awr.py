"""Advantage-weighted regression (Peng et al. 2019): supervised finetuning in which good actions weigh more.

The paper maximises E[exp((R - V(s)) / beta) log pi(a | s)]. Around a mean with a fixed deviation, log pi is the squared
error but for a factor and a constant, so this is SFT's loss under weights. R is the return-to-go (the paper's lambda
of 1), V learns it beside the policy.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trajtune.algorithms.base import Descent, Metrics, WindowAlgorithm, detached
from trajtune.algorithms.critics import initialise_critic
from trajtune.algorithms.losses import masked_mean
from trajtune.compute.tensors import Held
from trajtune.data.trajectories import Trajectories
from trajtune.policy import Policy
from trajtune.types import Batch
from trajtune_awr import AWRConfig


def awr_weights(advantages: Tensor, temperature: float, max_weight: float) -> Tensor:
    """min(exp(A / temperature), max_weight), [B, K]; bounding the logarithm says the same without overflow."""
    return (advantages / temperature).clamp_max(math.log(max_weight)).exp()


def awr_loss(mean: Tensor, actions: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
    """Squared error of the actions [B, K, A], averaged over dimensions and, weighted [B, K], over valid steps."""
    return masked_mean(weights * (actions - mean).square().mean(-1), mask)


class AWR(WindowAlgorithm):
    """Imitate the few-shot data, each action as much as it turned out better than V expected."""

    critic: nn.Module
    scale: Held  # "mean" and "deviation" [] of the data's returns-to-go: V learns them in these units

    def __init__(self, config: AWRConfig) -> None:
        self.config = config

    def setup(self, policy: Policy, data: Trajectories, seed: int) -> None:
        self.critic = initialise_critic(data.observations.shape[1], 1, seed, "v").to(policy.device)
        returns = torch.from_numpy(data.returns_to_go).double()
        floor = (self.config.floor * returns.abs().mean()).clamp_min(1e-8)
        deviation = returns.std(correction=0).maximum(floor)
        self.scale = Held({"mean": returns.mean().float(), "deviation": deviation.float()}).to(policy.device)

    def networks(self) -> Mapping[str, nn.Module]:
        return {"critic": self.critic, "scale": self.scale}

    def descents(self) -> Mapping[str, Descent]:
        return {"critic": Descent(self.config.critic_learning_rate, self.config.critic_grad_clip)}

    def _values(self, policy: Policy, batch: Batch) -> tuple[Tensor, Tensor]:
        """What V expects of every state, and what came of it, [B, K] each."""
        w = batch.window
        outcomes = (w.returns_to_go - self.scale["mean"]) / self.scale["deviation"]
        return self.critic(policy.normalise(w.observations))[0], outcomes

    def owned_loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Mapping[str, Tensor], Metrics]:
        values, outcomes = self._values(policy, batch)
        loss = masked_mean((values - outcomes).square(), batch.window.mask)
        return {"critic": loss}, detached(value_loss=loss)

    def loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Tensor, Metrics]:
        w, c = batch.window, self.config
        with torch.no_grad():
            values, outcomes = self._values(policy, batch)
            weights = awr_weights(outcomes - values, c.temperature, c.max_weight)
        loss = awr_loss(mean, w.actions, weights, w.mask)
        return loss, detached(awr=loss, weight=masked_mean(weights, w.mask))
