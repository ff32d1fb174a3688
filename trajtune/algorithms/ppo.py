"""Proximal policy optimisation over recorded trajectories (paper, equation 9), with a learned critic and GAE."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trajtune.algorithms.advantages import gae, grid, standardise, table
from trajtune.algorithms.base import Descent, Metrics, WindowAlgorithm, detached
from trajtune.algorithms.configs import PPOConfig
from trajtune.algorithms.critics import Critic, initialise_critic
from trajtune.algorithms.losses import log_prob, masked_mean, ppo_loss, ratio_metrics, value_loss
from trajtune.compute.tensors import Held
from trajtune.data.trajectories import Trajectories
from trajtune.policy import Policy
from trajtune.types import Batch


class PPO(WindowAlgorithm):
    """Raise the probability of actions that turned out better than V said, within a trust region."""

    critic: Critic
    old_policy: Held
    data: Held
    """``states`` [M, S] normalised, ``rows`` [N, T] of the grid, its ``rewards``, ``followed``, ``terminals`` [N, T],
    and the state after each trajectory: ``final_states`` [N, S], ``final_known`` [N]."""
    estimates: Held
    """As of the last snapshot: ``advantages`` [M + 1], and ``targets`` [M + 1] that V learns; the last is padding."""

    def __init__(self, config: PPOConfig) -> None:
        self.config = config

    def setup(self, policy: Policy, data: Trajectories, seed: int) -> None:
        device, final = policy.device, data.final_observations
        self.critic = initialise_critic(data.observations.shape[1], 1, seed, "v").to(device)
        rows, valid = grid(data)
        followed = torch.cat([valid[:, 1:], torch.zeros_like(valid[:, :1])], dim=1)
        terminated = torch.from_numpy(data.terminated)
        after = data.observations[data.start] if final is None else final  # what is not known is not looked at
        observations = torch.from_numpy(data.observations).to(device)
        self.data = Held(
            {
                "states": policy.normalise(observations),
                "rows": rows,
                "rewards": table(torch.from_numpy(data.rewards))[rows],
                "followed": followed,
                "terminals": valid & ~followed & terminated[:, None],
                "final_states": policy.normalise(torch.from_numpy(after).to(device)),
                "final_known": ~terminated & (final is not None),
            }
        ).to(device)
        nothing = torch.zeros(len(data.rewards) + 1, device=device)
        self.estimates = Held({"advantages": nothing, "targets": nothing})
        self.old_policy = Held(policy.trainable())
        self._look_back(policy)

    def networks(self) -> Mapping[str, nn.Module]:
        return {"critic": self.critic, "data": self.data, "estimates": self.estimates, "old_policy": self.old_policy}

    def descents(self) -> Mapping[str, Descent]:
        return {"critic": Descent(self.config.critic_learning_rate, self.config.critic_grad_clip)}

    @torch.no_grad()
    def _look_back(self, policy: Policy) -> None:
        """Snapshot the policy, and estimate advantages over the whole trajectories with the critic of this moment."""
        c, d = self.config, self.data
        self.old_policy.take(policy.trainable())
        values = table(self.critic(d["states"])[0])
        final = torch.where(d["final_known"], self.critic(d["final_states"])[0], 0.0)
        grids = d["rewards"], values[d["rows"]], d["followed"], d["terminals"]
        found = gae(*grids, final, d["final_known"], c.gamma, c.lam)
        ends = d["terminals"] | (d["final_known"][:, None] & (d["rows"] < len(d["states"])))
        known = d["followed"] | ends
        flat, mask = found.flatten(), known.flatten()
        scaled = standardise(flat, mask, c.floor) if c.normalise_advantages else flat
        nothing, rows = torch.zeros_like(values), d["rows"].flatten()
        gains = torch.where(mask, flat, 0.0)
        advantages = nothing.scatter_add(0, rows, torch.where(mask, scaled, 0.0))
        self.estimates.take({"advantages": advantages, "targets": values + nothing.scatter_add(0, rows, gains)})

    def owned_loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Mapping[str, Tensor], Metrics]:
        w = batch.window
        values = self.critic(policy.normalise(w.observations))[0]
        loss = value_loss(values, self.estimates["targets"][w.index], w.mask)
        return {"critic": loss}, detached(value_loss=loss, value=masked_mean(values, w.mask))

    def loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Tensor, Metrics]:
        w, c = batch.window, self.config
        with torch.no_grad():
            old = log_prob(policy.normal(policy.mean_with(self.old_policy.values(), batch)), w.actions, w.mask)
        log_ratio = log_prob(policy.normal(mean), w.actions, w.mask) - old
        loss = ppo_loss(log_ratio, self.estimates["advantages"][w.index], c.epsilon, w.mask)
        ratio, clipped = ratio_metrics(log_ratio, c.epsilon, w.mask)
        return loss, detached(ppo=loss, ratio=ratio, clipped=clipped)

    def after_step(self, policy: Policy, step: int) -> None:
        if (step + 1) % self.config.old_policy_every == 0:
            self._look_back(policy)
