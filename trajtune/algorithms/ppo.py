"""Proximal policy optimisation over recorded trajectories (paper, equation 9), with a learned critic and GAE."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from trajtune.algorithms.advantages import gae, grid, standardise, table
from trajtune.algorithms.base import Descent, Metrics, Shape, WindowAlgorithm, detached
from trajtune.algorithms.configs import PPOConfig, VCriticConfig
from trajtune.algorithms.losses import log_prob, masked_mean, ppo_loss, ratio_metrics
from trajtune.algorithms.owned import OwnedCritic, members_of, unseen
from trajtune.algorithms.transitions import transitions_of
from trajtune.algorithms.warming import inputs_of
from trajtune.compute.tensors import Held
from trajtune.data.trajectories import Trajectories
from trajtune.policy import Policy
from trajtune.types import Batch


class PPO(WindowAlgorithm):
    """Raise the probability of actions that turned out better than V said, within a trust region.

    V is cross-fitted: each trajectory is judged by a member that never learns from it, neither in the warm-up nor
    later. A critic that knows a trajectory by heart finds no advantage in it.
    """

    owned: OwnedCritic
    old_policy: Held
    data: Held
    """``states`` [M, D] as the critic sees them, ``rows`` [N, T] of the grid, its ``rewards``, ``followed``,
    ``terminals`` [N, T], the state after each trajectory: ``final_states`` [N, D], ``final_known`` [N], and
    ``member`` [M + 1], who has not seen a step."""
    estimates: Held
    """As of the last snapshot: ``advantages`` [M + 1], and ``targets`` [M + 1] that V learns; the last is padding."""

    def __init__(self, config: PPOConfig, critic: VCriticConfig) -> None:
        self.config, self.critic_config = config, critic

    def setup(self, policy: Policy, data: Trajectories, seed: int) -> None:
        self.owned = OwnedCritic(policy, data, seed, self.critic_config, "v")
        rows, valid = grid(data)
        followed = torch.cat([valid[:, 1:], torch.zeros_like(valid[:, :1])], dim=1)
        terminated = torch.from_numpy(data.terminated)
        steps, c = transitions_of(policy, data, self.critic_config.gamma), self.critic_config
        last = torch.from_numpy(data.start + data.length - 1)
        self.data = Held(
            {
                "states": inputs_of(steps, c, "v"),
                "rows": rows,
                "rewards": table(torch.from_numpy(data.rewards))[rows],
                "followed": followed,
                "terminals": valid & ~followed & terminated[:, None],
                "final_states": inputs_of(steps, c, "v", following=True)[last],
                "final_known": ~terminated & (data.final_observations is not None),
                "member": members_of(data, c.members),
            }
        ).to(policy.device)
        nothing = torch.zeros(len(data.rewards) + 1, device=policy.device)
        self.estimates = Held({"advantages": nothing, "targets": nothing})
        self.old_policy = Held(policy.trainable())
        self._look_back(policy)

    def facts(self) -> Mapping[str, float]:
        return self.owned.worth

    def draw(self, data: Trajectories, rng: np.random.Generator, shape: Shape) -> Batch:
        return self.owned.draw(data, rng, super().draw(data, rng, shape))

    def networks(self) -> Mapping[str, nn.Module]:
        own = {"data": self.data, "estimates": self.estimates, "old_policy": self.old_policy}
        return {**self.owned.networks(), **own}

    def descents(self) -> Mapping[str, Descent]:
        return self.owned.descents()

    @torch.no_grad()
    def _look_back(self, policy: Policy) -> None:
        """Snapshot the policy, and estimate advantages over the whole trajectories with the critic of this moment."""
        c, d, critic = self.config, self.data, self.owned.critic
        self.old_policy.take(policy.trainable())
        values = table(unseen(critic(d["states"]), d["member"][:-1]))
        final = torch.where(d["final_known"], unseen(critic(d["final_states"]), d["member"][d["rows"][:, 0]]), 0.0)
        grids = d["rewards"], values[d["rows"]], d["followed"], d["terminals"]
        found = gae(*grids, final, d["final_known"], self.critic_config.gamma, c.lam)
        ends = d["terminals"] | (d["final_known"][:, None] & (d["rows"] < len(d["states"])))
        known = d["followed"] | ends
        flat, mask = found.flatten(), known.flatten()
        scaled = standardise(flat, mask, c.floor) if c.normalise_advantages else flat
        nothing, rows = torch.zeros_like(values), d["rows"].flatten()
        gains = torch.where(mask, flat, 0.0)
        advantages = nothing.scatter_add(0, rows, torch.where(mask, scaled, 0.0))
        self.estimates.take({"advantages": advantages, "targets": values + nothing.scatter_add(0, rows, gains)})

    def owned_loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Mapping[str, Tensor], Metrics]:
        w, critic = batch.window, self.owned.critic
        if not self.owned.learns:
            return {}, {}
        states, index, mask = self.owned.states(policy, w), w.index, w.mask
        if batch.rows is not None:
            states, index = self.data["states"][batch.rows], batch.rows
            mask = torch.ones_like(index, dtype=torch.bool)
        values = critic(states)
        each = torch.arange(critic.members, device=values.device).view(-1, *[1] * index.ndim)
        error = ((values - self.estimates["targets"][index]) / critic.scale).square()
        loss = masked_mean(error, mask & (each != self.data["member"][index])) * critic.members
        return {"critic": loss}, detached(value_loss=loss, value=masked_mean(values.mean(0), mask))

    def loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Tensor, Metrics]:
        w, c = batch.window, self.config
        with torch.no_grad():
            old = log_prob(policy.normal(policy.mean_with(self.old_policy.values(), batch)), w.actions, w.mask)
        now = log_prob(policy.normal(mean), w.actions, w.mask)
        log_ratio = now - old
        loss = ppo_loss(log_ratio, self.estimates["advantages"][w.index], c.epsilon, w.mask)
        if c.imitation > 0.0:
            loss = loss - c.imitation * masked_mean(now, w.mask)
        ratio, clipped = ratio_metrics(log_ratio, c.epsilon, w.mask)
        return loss, detached(ppo=loss, ratio=ratio, clipped=clipped)

    def after_step(self, policy: Policy, step: int) -> None:
        if (step + 1) % self.config.old_policy_every == 0:
            self._look_back(policy)
