"""Group relative policy optimisation: advantages within a group of trajectories (paper, equations 5 to 8)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from trajtune.algorithms.advantages import grid, group_advantages, groups, table
from trajtune.algorithms.base import Metrics, WindowAlgorithm, detached
from trajtune.algorithms.configs import GRPOConfig
from trajtune.algorithms.losses import exact_kl, grpo_loss, kl_estimate, log_prob, masked_mean, ratio_metrics
from trajtune.compute.tensors import Held
from trajtune.data.trajectories import Trajectories
from trajtune.policy import Policy
from trajtune.types import Batch


class GRPO(WindowAlgorithm):
    """Raise the probability of actions from trajectories that did better than their group."""

    advantages: Held  # "steps" [M], one a step of the data; never changes
    old_policy: Held

    def __init__(self, config: GRPOConfig) -> None:
        self.config = config

    def setup(self, policy: Policy, data: Trajectories, seed: int) -> None:
        c, device = self.config, policy.device
        first = policy.normalise(torch.from_numpy(data.observations[data.start]).to(device)).cpu()
        members = groups(first, torch.from_numpy(data.task), c.group_size)
        rows, valid = grid(data)
        returns = table(torch.from_numpy(data.returns_to_go).double())
        values = returns[rows if c.dense else rows[:, :1]]  # [N, T] or [N, 1]
        each = group_advantages(values, valid[:, : values.shape[1]], members, c.floor).float()
        steps = torch.zeros(len(data.rewards))
        steps[rows[valid]] = each.expand(valid.shape)[valid]
        self.advantages = Held({"steps": steps}).to(device)
        self.old_policy = Held(policy.trainable())
        self._equal = not bool(each.any())

    def notes(self) -> Sequence[str]:
        if not self._equal:
            return ()
        return ("grpo: the returns within each group are equal, so no action has an advantage and nothing will move",)

    def networks(self) -> Mapping[str, nn.Module]:
        return {"advantages": self.advantages, "old_policy": self.old_policy}

    def loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Tensor, Metrics]:
        w, c = batch.window, self.config
        with torch.no_grad():
            old = log_prob(policy.normal(policy.mean_with(self.old_policy.values(), batch)), w.actions, w.mask)
            reference = policy.reference(batch)
        new = log_prob(policy.normal(mean), w.actions, w.mask)
        if c.divergence == "exact":
            divergence = exact_kl(mean, reference.mean, policy.std)
        else:
            divergence = kl_estimate(new - log_prob(reference, w.actions, w.mask))
        loss = grpo_loss(new - old, divergence, self.advantages["steps"][w.index], c.epsilon, c.beta, w.mask)
        ratio, clipped = ratio_metrics(new - old, c.epsilon, w.mask)
        return loss, detached(grpo=loss, ratio=ratio, clipped=clipped, kl=masked_mean(divergence, w.mask))

    def after_step(self, policy: Policy, step: int) -> None:
        if (step + 1) % self.config.old_policy_every == 0:
            self.old_policy.take(policy.trainable())
