"""Conservative Q-learning: random actions are valued less, and the policy maximises Q (paper, equations 10 to 12)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from trajtune.algorithms.base import Algorithm, Descent, Metrics, Shape, detached
from trajtune.algorithms.configs import CQLConfig
from trajtune.algorithms.losses import cql_loss, masked_mean
from trajtune.algorithms.twins import TwinCritics, transitions
from trajtune.data.sampling import draw_batch
from trajtune.data.trajectories import Trajectories
from trajtune.policy import Policy
from trajtune.types import Batch

FIRST = slice(0, 1)


@dataclass(frozen=True)
class RandomActions(Batch):
    """Windows with actions of the random policy at every step."""

    random: Tensor = field(kw_only=True)  # [B, K, N, A]


class CQL(Algorithm[RandomActions]):
    """Learn Q conservatively and act to maximise it. Nothing else holds the policy."""

    twins: TwinCritics

    def __init__(self, config: CQLConfig) -> None:
        self.config = config

    def setup(self, policy: Policy, data: Trajectories, seed: int) -> None:
        self.twins = TwinCritics(policy, data, seed)

    def draw(self, data: Trajectories, rng: np.random.Generator, shape: Shape) -> RandomActions:
        batch = draw_batch(data, rng, shape.batch, shape.window, shape.prompt, shape.max_timesteps)
        rows, steps, dim = batch.window.actions.shape
        random = rng.uniform(-1.0, 1.0, (rows, steps, self.config.random_actions, dim)).astype(np.float32)
        return RandomActions(batch.prompt, batch.window, random=torch.from_numpy(random))

    def networks(self) -> Mapping[str, nn.Module]:
        return self.twins.networks()

    def descents(self) -> Mapping[str, Descent]:
        return {"critic": Descent(self.config.critic_learning_rate, self.config.critic_grad_clip)}

    def owned_loss(self, policy: Policy, batch: RandomActions, mean: Tensor) -> tuple[Mapping[str, Tensor], Metrics]:
        """Equations 10 and 11. The policy's actions are its means, as in (12) and when it acts."""
        w, c, critic = batch.window, self.config, self.twins.critic
        states, valid = policy.normalise(w.observations), transitions(w)
        target = self.twins.target(states, mean, w, c.gamma)
        values = critic(states, w.actions)
        random = critic(states.unsqueeze(2).expand(-1, -1, c.random_actions, -1), batch.random)
        anchor = values if c.anchor_data else critic(states, mean)
        loss = cql_loss(values, target, random, anchor, c.alpha, valid)
        return {"critic": loss}, detached(
            critic_loss=loss,
            q_data=masked_mean(values[0], valid),
            q_random=masked_mean(random[0].mean(-1), valid),
        )

    def loss(self, policy: Policy, batch: RandomActions, mean: Tensor) -> tuple[Tensor, Metrics]:
        """Equation 12, without gradient into the critics."""
        values = self.twins.critic(policy.normalise(batch.window.observations), mean, which=FIRST)[0]
        q = masked_mean(values, batch.window.mask)
        return -q, detached(q_policy=q)

    def after_step(self, policy: Policy, step: int) -> None:
        self.twins.follow(self.config.tau)
