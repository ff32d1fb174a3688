"""Group relative policy optimisation: advantages within a group of trajectories (paper, equations 5 to 8)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from trajtune.algorithms.advantages import grid, group_advantages, groups
from trajtune.algorithms.base import Algorithm, Metrics, detached
from trajtune.algorithms.losses import grpo_loss, kl_estimate, log_prob, masked_mean, ratio_metrics
from trajtune.algorithms.owned import prefixed, under
from trajtune.data import Trajectories
from trajtune.errors import UserError
from trajtune.policy import Policy
from trajtune.types import Batch


@dataclass(frozen=True)
class GRPOConfig:
    """Numbers that the paper leaves open, apart from the group's definition."""

    epsilon: float = 0.2
    """How far the ratio to the old policy counts."""
    beta: float = 0.01
    """Weight of the divergence from the reference."""
    old_policy_every: int = 10
    """Updates between two snapshots of the old policy."""
    group_size: int = 0
    """0: all trajectories of the task, whose initial states differ by reset noise only. k: the k nearest of them."""
    dense: bool = False
    """Compare returns-to-go at the same timestep instead of whole returns: an advantage for every step."""
    floor: float = 1e-3
    """The deviation in (8) is at least this share of the mean magnitude."""

    def __post_init__(self) -> None:
        if self.old_policy_every < 1 or self.group_size < 0:
            raise UserError("old_policy_every must be at least 1 and group_size at least 0")
        if not 0.0 < self.epsilon < 1.0:
            raise UserError(f"epsilon must lie between 0 and 1, got {self.epsilon}")


class GRPO(Algorithm):
    """Raise the probability of actions from trajectories that did better than their group."""

    advantages: Tensor  # [M], one a step of the data; never changes
    old_policy: dict[str, Tensor]

    def __init__(self, config: GRPOConfig) -> None:
        self.config = config

    def setup(self, policy: Policy, data: Trajectories, seed: int) -> None:
        c, device = self.config, policy.observation_mean.device
        first = policy.normalise(torch.from_numpy(data.observations[data.start]).to(device)).cpu()
        members = groups(first, torch.from_numpy(data.task), c.group_size)
        rows, valid = grid(data)
        values = torch.from_numpy(data.returns_to_go).double()[rows if c.dense else rows[:, :1]]  # [N, T] or [N, 1]
        each = group_advantages(values, valid[:, : values.shape[1]], members, c.floor).float()
        self.advantages = torch.zeros(len(data.rewards))
        self.advantages[rows[valid]] = each.expand(valid.shape)[valid]
        self.advantages = self.advantages.to(device)
        self.old_policy = policy.snapshot()

    def loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Tensor, Metrics]:
        w, c = batch.window, self.config
        with torch.no_grad():
            old = log_prob(policy.normal(policy.mean_with(self.old_policy, batch)), w.actions, w.mask)
            reference = log_prob(policy.reference(batch), w.actions, w.mask)
        new = log_prob(policy.normal(mean), w.actions, w.mask)
        loss = grpo_loss(new - old, new - reference, self.advantages[w.index], c.epsilon, c.beta, w.mask)
        ratio, clipped = ratio_metrics(new - old, c.epsilon, w.mask)
        kl = masked_mean(kl_estimate(new - reference), w.mask)
        return loss, detached(grpo=loss, ratio=ratio, clipped=clipped, kl=kl)

    def after_step(self, policy: Policy, step: int) -> None:
        if (step + 1) % self.config.old_policy_every == 0:
            self.old_policy = policy.snapshot()

    def state(self) -> dict[str, Tensor]:
        return prefixed("old_policy.", self.old_policy)

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.old_policy = under("old_policy.", state)
