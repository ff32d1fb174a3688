"""Advantage-weighted regression (Peng et al. 2019): imitation, weighted by how much better than expected it went.

A baseline that the paper lacks. The advantage is the discounted return minus V of a network that has not seen the
trajectory.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from trajtune.algorithms.base import Metrics, WindowAlgorithm, detached
from trajtune.algorithms.configs import AWRConfig, VCriticConfig
from trajtune.algorithms.critics import Critic
from trajtune.algorithms.losses import advantage_weights, weighted_sft_loss
from trajtune.algorithms.owned import members_of, trusted_critic, unseen
from trajtune.algorithms.transitions import transitions_of
from trajtune.algorithms.warming import inputs_of
from trajtune.compute.tensors import Held
from trajtune.data.trajectories import Trajectories
from trajtune.policy import Policy
from trajtune.types import Batch


class AWR(WindowAlgorithm):
    """Imitate each action with exp(temperature * advantage)."""

    weights: Held  # "steps" [M + 1], one a step of the data; they never change

    def __init__(self, config: AWRConfig, critic: VCriticConfig) -> None:
        self.config, self.critic_config = config, critic
        self._facts: Mapping[str, float] = {}
        self._notes: Sequence[str] = ()

    def setup(self, policy: Policy, data: Trajectories, seed: int) -> None:
        found = trusted_critic(policy, data, seed, self.critic_config, "v", self.config.trust)
        self._facts, self._notes = found.facts, found.notes
        weights = torch.ones(len(data.rewards))
        if found.owned is not None:
            weights = self._weigh(policy, data, found.owned.critic, self.config.temperature * found.trust)
        self.weights = Held({"steps": torch.cat([weights, weights[:1]])}).to(policy.device)

    @torch.no_grad()
    def _weigh(self, policy: Policy, data: Trajectories, critic: Critic, temperature: float) -> Tensor:
        c = self.critic_config
        table = transitions_of(policy, data, c.gamma)
        expected = unseen(critic.cpu()(inputs_of(table, c, "v")), members_of(data, c.members)[:-1])
        advantages = table.weights * (table.returns - expected)
        every = torch.ones_like(expected, dtype=torch.bool)
        return advantage_weights(advantages, temperature, self.config.largest_weight, every)

    def facts(self) -> Mapping[str, float]:
        return self._facts

    def notes(self) -> Sequence[str]:
        return self._notes

    def networks(self) -> Mapping[str, nn.Module]:
        return {"weights": self.weights}

    def loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Tensor, Metrics]:
        w = batch.window
        weights = self.weights["steps"][w.index]
        loss = weighted_sft_loss(mean, w.actions, weights, w.mask)
        return loss, detached(awr=loss, largest=torch.where(w.mask, weights, 0.0).max())
