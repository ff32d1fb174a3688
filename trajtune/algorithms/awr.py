"""Advantage-weighted regression (Peng et al. 2019): imitation, weighted by how much better than expected it went.

A baseline that the paper lacks. The advantage is the discounted return minus V of a network that has not seen the
trajectory.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trajtune.algorithms.base import Metrics, WindowAlgorithm, detached
from trajtune.algorithms.configs import AWRConfig, VCriticConfig
from trajtune.algorithms.losses import advantage_weights, weighted_sft_loss
from trajtune.algorithms.owned import members_of, unseen
from trajtune.algorithms.transitions import transitions_of
from trajtune.algorithms.warming import inputs_of, warm_critic
from trajtune.compute.tensors import Held
from trajtune.data.trajectories import Trajectories
from trajtune.policy import Policy
from trajtune.types import Batch


class AWR(WindowAlgorithm):
    """Imitate each action with exp(temperature * advantage)."""

    weights: Held  # "steps" [M + 1], one a step of the data; they never change

    def __init__(self, config: AWRConfig, critic: VCriticConfig) -> None:
        self.config, self.critic_config = config, critic
        self._facts: dict[str, float] = {}

    @torch.no_grad()
    def setup(self, policy: Policy, data: Trajectories, seed: int) -> None:
        c = self.critic_config
        with torch.enable_grad():
            critic, self._facts = warm_critic(policy, data, seed, c, "v")
        table = transitions_of(policy, data, c.gamma)
        values = critic.cpu()(inputs_of(table, c, "v"))
        expected = unseen(values, members_of(data, c.members)[:-1])
        every = torch.ones_like(expected, dtype=torch.bool)
        weights = advantage_weights(
            table.weights * (table.returns - expected), self.config.temperature, self.config.largest_weight, every
        )
        self.weights = Held({"steps": torch.cat([weights, weights[:1]])}).to(policy.device)

    def facts(self) -> Mapping[str, float]:
        return self._facts

    def networks(self) -> Mapping[str, nn.Module]:
        return {"weights": self.weights}

    def loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Tensor, Metrics]:
        w = batch.window
        weights = self.weights["steps"][w.index]
        loss = weighted_sft_loss(mean, w.actions, weights, w.mask)
        return loss, detached(awr=loss, largest=torch.where(w.mask, weights, 0.0).max())
