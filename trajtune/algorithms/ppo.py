"""Proximal policy optimisation over recorded trajectories (paper, equation 9), with a learned critic and GAE."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from trajtune.algorithms.advantages import gae, grid, standardise, table
from trajtune.algorithms.base import Descent, Metrics, Shape, WindowAlgorithm, detached
from trajtune.algorithms.configs import PPOConfig, VCriticConfig
from trajtune.algorithms.losses import log_prob, masked_mean, ppo_loss, ratio_metrics, sft_loss
from trajtune.algorithms.owned import OwnedCritic, members_of, trusted_critic, unseen
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

    owned: OwnedCritic | None
    """None where it is not trusted at all: nothing is left then but imitation, which is sft."""
    trust: Held
    old_policy: Held
    data: Held
    """``states`` [M, D] as the critic sees them, ``rows`` [N, T] of the grid, its ``rewards``, ``followed``,
    ``terminals`` [N, T], the state after each trajectory: ``final_states`` [N, D], ``final_known`` [N], and
    ``member`` [M + 1], who has not seen a step."""
    estimates: Held
    """As of the last snapshot: ``advantages`` [M + 1], and ``targets`` [M + 1] that V learns; the last is padding."""

    def __init__(self, config: PPOConfig, critic: VCriticConfig) -> None:
        self.config, self.critic_config = config, critic
        self._facts: Mapping[str, float] = {}
        self._notes: Sequence[str] = ()
        self._rate = 1.0

    def setup(self, policy: Policy, data: Trajectories, seed: int) -> None:
        found = trusted_critic(policy, data, seed, self.critic_config, "v", self.config.trust)
        self._facts, self._notes, self.owned = found.facts, found.notes, found.owned
        self._rate = 1.0 - found.trust + found.trust * self.config.rate
        if self.owned is None:
            return
        self.trust = Held({"share": torch.tensor(found.trust)}).to(policy.device)
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
        self._look_back(policy, self.owned)

    def facts(self) -> Mapping[str, float]:
        return self._facts

    def notes(self) -> Sequence[str]:
        return self._notes

    def rate(self) -> float:
        return self._rate

    def draw(self, data: Trajectories, rng: np.random.Generator, shape: Shape) -> Batch:
        batch = super().draw(data, rng, shape)
        return batch if self.owned is None else self.owned.draw(data, rng, batch)

    def networks(self) -> Mapping[str, nn.Module]:
        if self.owned is None:
            return {}
        own = {"data": self.data, "estimates": self.estimates, "old_policy": self.old_policy, "trust": self.trust}
        return {**self.owned.networks(), **own}

    def descents(self) -> Mapping[str, Descent]:
        return {} if self.owned is None else self.owned.descents()

    @torch.no_grad()
    def _look_back(self, policy: Policy, owned: OwnedCritic) -> None:
        """Snapshot the policy, and estimate advantages over the whole trajectories with the critic of this moment."""
        c, d, critic = self.config, self.data, owned.critic
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
        w, owned = batch.window, self.owned
        if owned is None or not owned.learns:
            return {}, {}
        critic = owned.critic
        states, index, mask = owned.states(policy, w), w.index, w.mask
        if batch.rows is not None:
            states, index = self.data["states"][batch.rows], batch.rows
            mask = torch.ones_like(index, dtype=torch.bool)
        values = critic(states)
        each = torch.arange(critic.members, device=values.device).view(-1, *[1] * index.ndim)
        error = ((values - self.estimates["targets"][index]) / critic.scale).square()
        loss = masked_mean(error, mask & (each != self.data["member"][index])) * critic.members
        return {"critic": loss}, detached(value_loss=loss, value=masked_mean(values.mean(0), mask))

    def loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Tensor, Metrics]:
        """Equation 9 as far as it is trusted, and imitation for the rest."""
        w, c = batch.window, self.config
        if self.owned is None:
            imitated = sft_loss(mean, w.actions, w.mask)
            return imitated, detached(ppo=imitated)
        with torch.no_grad():
            old = log_prob(policy.normal(policy.mean_with(self.old_policy.values(), batch)), w.actions, w.mask)
        now = log_prob(policy.normal(mean), w.actions, w.mask)
        log_ratio = now - old
        share = self.trust["share"]
        loss = share * ppo_loss(log_ratio, self.estimates["advantages"][w.index], c.epsilon, w.mask)
        loss = loss - (1.0 - share + share * c.imitation) * masked_mean(now, w.mask)
        ratio, clipped = ratio_metrics(log_ratio, c.epsilon, w.mask)
        return loss, detached(ppo=loss, ratio=ratio, clipped=clipped)

    def after_step(self, policy: Policy, step: int) -> None:
        if self.owned is not None and (step + 1) % self.config.old_policy_every == 0:
            self._look_back(policy, self.owned)
