"""Implicit Q-learning (Kostrikov, Nair and Levine 2022): values of the data's best actions, and imitation by weight.

A baseline that the paper lacks. Nothing ever asks for the value of an action that is not in the data.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from trajtune.algorithms.base import Descent, Metrics, Shape, WindowAlgorithm, detached
from trajtune.algorithms.configs import CriticConfig, IQLConfig
from trajtune.algorithms.losses import advantage_weights, expectile_loss, masked_mean, sft_loss, weighted_sft_loss
from trajtune.algorithms.owned import OwnedCritic, trusted_critic
from trajtune.compute.tensors import Held
from trajtune.data.trajectories import Trajectories
from trajtune.policy import Policy
from trajtune.types import Batch


class IQL(WindowAlgorithm):
    """Imitate each action with exp(temperature * advantage)."""

    q: OwnedCritic | None
    """None where it is not trusted at all: the temperature is 0 then, which is sft."""
    v: OwnedCritic
    temperature: Held

    def __init__(self, config: IQLConfig, critic: CriticConfig) -> None:
        self.config, self.critic_config = config, critic
        self._facts: Mapping[str, float] = {}
        self._notes: Sequence[str] = ()

    def setup(self, policy: Policy, data: Trajectories, seed: int) -> None:
        found = trusted_critic(policy, data, seed, self.critic_config, "q", self.config.trust)
        self._facts, self._notes, self.q = found.facts, found.notes, found.owned
        if self.q is not None:
            self.v = OwnedCritic(policy, data, seed, self.critic_config, "v")
            weighed = torch.tensor(self.config.temperature * found.trust)
            self.temperature = Held({"weighed": weighed}).to(policy.device)

    def facts(self) -> Mapping[str, float]:
        return self._facts

    def notes(self) -> Sequence[str]:
        return self._notes

    def draw(self, data: Trajectories, rng: np.random.Generator, shape: Shape) -> Batch:
        batch = super().draw(data, rng, shape)
        return batch if self.q is None else self.q.draw(data, rng, batch)

    def networks(self) -> Mapping[str, nn.Module]:
        if self.q is None:
            return {}
        return {**self.q.networks(), "value": self.v.critic, "temperature": self.temperature}

    def descents(self) -> Mapping[str, Descent]:
        if self.q is None or not self.q.learns:
            return {}
        return {**self.q.descents(), "value": self.v.descents()["critic"]}

    def owned_loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Mapping[str, Tensor], Metrics]:
        """Their equations 5 (V, an expectile of the target Q) and 6 (Q, one step ahead of V)."""
        w, q = batch.window, self.q
        if q is None or not q.learns:
            return {}, {}
        unit = self.v.critic.scale
        if batch.rows is None:
            states, actions, mask = q.states(policy, w), w.actions, w.mask
        else:
            s = q.taken(batch.rows)
            states, actions, mask = s["states"], s["actions"], torch.ones_like(s["terminal"])
        value = self.v.critic(states)
        judged = q.average(states, actions).amin(0)
        value_loss = masked_mean(expectile_loss((judged - value) / unit, self.config.expectile).sum(0), mask)
        if batch.rows is None:
            target, valid = q.target(w, value.detach().mean(0))
        else:
            with torch.no_grad():
                later = torch.where(s["terminal"], 0.0, self.v.critic(s["next_states"]).mean(0))
            target, valid = s["rewards"] + self.critic_config.gamma * later, s["follows"]
        values = q.critic(states, actions)
        loss = q.error(values, target, valid)
        metrics = detached(td=loss, value_loss=value_loss, q_data=masked_mean(values[0], valid))
        return {"critic": loss, "value": value_loss}, metrics

    def loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Tensor, Metrics]:
        """Their equation 7; the log-probability is a squared error, since the deviation is fixed."""
        w, q = batch.window, self.q
        if q is None:
            loss = sft_loss(mean, w.actions, w.mask)
            return loss, detached(iql=loss)
        with torch.no_grad():
            states = q.states(policy, w)
            advantages = q.average(states, w.actions).amin(0) - self.v.critic(states).mean(0)
            temperature, largest = self.temperature["weighed"], self.config.largest_weight
            weights = advantage_weights(advantages, temperature, largest, w.mask)
        loss = weighted_sft_loss(mean, w.actions, weights, w.mask)
        return loss, detached(iql=loss, largest=torch.where(w.mask, weights, 0.0).max())

    def after_step(self, policy: Policy, step: int) -> None:
        if self.q is not None and self.q.learns:
            self.q.follow()
