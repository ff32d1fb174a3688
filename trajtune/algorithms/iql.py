"""Implicit Q-learning (Kostrikov, Nair and Levine 2022): values of the data's best actions, and imitation by weight.

A baseline that the paper lacks. Nothing ever asks for the value of an action that is not in the data.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from trajtune.algorithms.base import Descent, Metrics, Shape, WindowAlgorithm, detached
from trajtune.algorithms.configs import CriticConfig, IQLConfig
from trajtune.algorithms.losses import advantage_weights, expectile_loss, masked_mean, weighted_sft_loss
from trajtune.algorithms.owned import OwnedCritic
from trajtune.data.trajectories import Trajectories
from trajtune.policy import Policy
from trajtune.types import Batch


class IQL(WindowAlgorithm):
    """Imitate each action with exp(temperature * advantage)."""

    q: OwnedCritic
    v: OwnedCritic

    def __init__(self, config: IQLConfig, critic: CriticConfig) -> None:
        self.config, self.critic_config = config, critic

    def setup(self, policy: Policy, data: Trajectories, seed: int) -> None:
        self.q = OwnedCritic(policy, data, seed, self.critic_config, "q")
        self.v = OwnedCritic(policy, data, seed, self.critic_config, "v")

    def facts(self) -> Mapping[str, float]:
        return self.q.worth

    def draw(self, data: Trajectories, rng: np.random.Generator, shape: Shape) -> Batch:
        return self.q.draw(data, rng, super().draw(data, rng, shape))

    def networks(self) -> Mapping[str, nn.Module]:
        return {**self.q.networks(), "value": self.v.critic}

    def descents(self) -> Mapping[str, Descent]:
        value = {"value": self.v.descents()["critic"]} if self.v.learns else {}
        return {**self.q.descents(), **value}

    def owned_loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Mapping[str, Tensor], Metrics]:
        """Their equations 5 (V, an expectile of the target Q) and 6 (Q, one step ahead of V)."""
        w, unit = batch.window, self.v.critic.scale
        if not self.q.learns:
            return {}, {}
        if batch.rows is None:
            states, actions, mask = self.q.states(policy, w), w.actions, w.mask
        else:
            s = self.q.taken(batch.rows)
            states, actions, mask = s["states"], s["actions"], torch.ones_like(s["terminal"])
        value = self.v.critic(states)
        judged = self.q.average(states, actions).amin(0)
        value_loss = masked_mean(expectile_loss((judged - value) / unit, self.config.expectile).sum(0), mask)
        if batch.rows is None:
            target, valid = self.q.target(w, value.detach().mean(0))
        else:
            with torch.no_grad():
                later = torch.where(s["terminal"], 0.0, self.v.critic(s["next_states"]).mean(0))
            target, valid = s["rewards"] + self.critic_config.gamma * later, s["follows"]
        values = self.q.critic(states, actions)
        loss = self.q.error(values, target, valid)
        metrics = detached(td=loss, value_loss=value_loss, q_data=masked_mean(values[0], valid))
        return {"critic": loss, "value": value_loss}, metrics

    def loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Tensor, Metrics]:
        """Their equation 7; the log-probability is a squared error, since the deviation is fixed."""
        w, c = batch.window, self.config
        with torch.no_grad():
            states = self.q.states(policy, w)
            advantages = self.q.average(states, w.actions).amin(0) - self.v.critic(states).mean(0)
            weights = advantage_weights(advantages, c.temperature, c.largest_weight, w.mask)
        loss = weighted_sft_loss(mean, w.actions, weights, w.mask)
        return loss, detached(iql=loss, largest=torch.where(w.mask, weights, 0.0).max())

    def after_step(self, policy: Policy, step: int) -> None:
        self.q.follow()
