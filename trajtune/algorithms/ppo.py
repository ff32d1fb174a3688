"""Proximal policy optimisation over recorded trajectories (paper, equation 9), with a learned critic and GAE."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trajtune.agents import Critic, initialise_critic
from trajtune.algorithms.advantages import gae, grid, standardise
from trajtune.algorithms.base import Algorithm, Metrics, detached
from trajtune.algorithms.losses import log_prob, masked_mean, ppo_loss, ratio_metrics, value_loss
from trajtune.algorithms.owned import descend, learning, prefixed, under
from trajtune.configs import check_shares
from trajtune.data import Trajectories
from trajtune.errors import UserError
from trajtune.policy import Policy
from trajtune.types import Batch


@dataclass(frozen=True)
class PPOConfig:
    """The usual numbers; the paper names none."""

    epsilon: float = 0.2
    """How far the ratio to the old policy counts."""
    gamma: float = 0.99
    lam: float = 0.95
    """Lambda of GAE: 0 trusts the critic, 1 the returns."""
    old_policy_every: int = 10
    """Updates between two snapshots of the old policy, and of the advantages with it."""
    normalise_advantages: bool = True
    """Mean 0 and deviation 1 over the data."""
    floor: float = 1e-3
    """That deviation is at least this share of the mean magnitude."""
    critic_learning_rate: float = 3e-4
    critic_grad_clip: float = 1.0

    def __post_init__(self) -> None:
        if self.old_policy_every < 1:
            raise UserError(f"old_policy_every must be at least 1, got {self.old_policy_every}")
        if not 0.0 < self.epsilon < 1.0:
            raise UserError(f"epsilon must lie between 0 and 1, got {self.epsilon}")
        check_shares(self, "gamma", "lam")


class PPO(Algorithm):
    """Raise the probability of actions that turned out better than V said, within a trust region."""

    critic: Critic
    optimizer: torch.optim.AdamW
    old_policy: dict[str, Tensor]
    advantages: Tensor  # [M], one a step of the data
    targets: Tensor  # [M], what V learns: advantage + V, as of the last snapshot

    def __init__(self, config: PPOConfig) -> None:
        self.config = config

    def setup(self, policy: Policy, data: Trajectories, seed: int) -> None:
        device = policy.observation_mean.device
        self.critic = initialise_critic(data.observations.shape[1], 1, seed).to(device).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.critic.parameters(), self.config.critic_learning_rate, fused=True)
        self._states = policy.normalise(torch.from_numpy(data.observations).to(device))
        self._rewards = torch.from_numpy(data.rewards).to(device)
        self._rows, valid = (t.to(device) for t in grid(data))
        followed = torch.cat([valid[:, 1:], torch.zeros_like(valid[:, :1])], dim=1)
        self._followed, last = followed, valid & ~followed
        self._terminals = last & torch.from_numpy(data.terminated).to(device)[:, None]
        self._look_back(policy)

    @torch.no_grad()
    def _look_back(self, policy: Policy) -> None:
        """Snapshot the policy, and estimate advantages over the whole trajectories with the critic of this moment."""
        c, known = self.config, self._followed | self._terminals
        self.old_policy = policy.snapshot()
        values = self.critic(self._states)[0]
        grids = self._rewards[self._rows], values[self._rows], self._followed, self._terminals
        found = gae(*grids, c.gamma, c.lam)[known]
        scaled = standardise(found, torch.ones_like(found, dtype=torch.bool), c.floor)
        self.advantages, self.targets = torch.zeros_like(values), values.clone()
        self.targets[self._rows[known]] += found
        self.advantages[self._rows[known]] = scaled if c.normalise_advantages else found

    def update_critic(self, policy: Policy, batch: Batch, mean: Tensor) -> Metrics:
        w = batch.window
        with learning(self.critic):
            values = self.critic(policy.normalise(w.observations))[0]
            loss = value_loss(values, self.targets[w.index], w.mask)
            norm = descend(self.optimizer, loss, self.config.critic_grad_clip)
        return detached(value_loss=loss, critic_grad_norm=norm, value=masked_mean(values, w.mask))

    def loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Tensor, Metrics]:
        w, c = batch.window, self.config
        with torch.no_grad():
            old = log_prob(policy.normal(policy.mean_with(self.old_policy, batch)), w.actions, w.mask)
        log_ratio = log_prob(policy.normal(mean), w.actions, w.mask) - old
        loss = ppo_loss(log_ratio, self.advantages[w.index], c.epsilon, w.mask)
        ratio, clipped = ratio_metrics(log_ratio, c.epsilon, w.mask)
        return loss, detached(ppo=loss, ratio=ratio, clipped=clipped)

    def after_step(self, policy: Policy, step: int) -> None:
        if (step + 1) % self.config.old_policy_every == 0:
            self._look_back(policy)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"critic": self.optimizer}

    def state(self) -> dict[str, Tensor]:
        tables = {"advantages": self.advantages, "targets": self.targets}
        return {
            **tables,
            **prefixed("old_policy.", self.old_policy),
            **prefixed("critic.", self.critic.state_dict()),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.advantages, self.targets = state["advantages"], state["targets"]
        self.old_policy = under("old_policy.", state)
        self.critic.load_state_dict(under("critic.", state))
