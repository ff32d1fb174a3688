"""Conservative Q-learning: random actions are valued less, and the policy maximises Q (paper, equations 10 to 12)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from trajtune.algorithms.base import Algorithm, Descent, Metrics, Shape, detached
from trajtune.algorithms.configs import CQLConfig, CriticConfig
from trajtune.algorithms.losses import conservative_gap, masked_mean
from trajtune.algorithms.owned import FIRST, OwnedCritic
from trajtune.algorithms.transitions import transitions_of
from trajtune.compute.tensors import Held
from trajtune.data.sampling import draw_batch
from trajtune.data.trajectories import Trajectories
from trajtune.policy import Policy
from trajtune.types import Batch


@dataclass(frozen=True)
class RandomActions(Batch):
    """Windows with actions of the random policy at every step."""

    random: Tensor = field(kw_only=True)  # [B, K, N, A]


class CQL(Algorithm[RandomActions]):
    """Learn Q conservatively and act to maximise it. Nothing else holds the policy."""

    owned: OwnedCritic
    returns: Held
    """``reached`` [M + 1]: the discounted return that the data had from each step on."""

    def __init__(self, config: CQLConfig, critic: CriticConfig) -> None:
        self.config, self.critic_config = config, critic

    def setup(self, policy: Policy, data: Trajectories, seed: int) -> None:
        self.owned = OwnedCritic(policy, data, seed, self.critic_config, "q")
        reached = transitions_of(policy, data, self.critic_config.gamma).returns
        self.returns = Held({"reached": torch.cat([reached, reached[:1]])}).to(policy.device)

    def facts(self) -> Mapping[str, float]:
        return self.owned.worth

    def draw(self, data: Trajectories, rng: np.random.Generator, shape: Shape) -> RandomActions:
        batch = draw_batch(data, rng, shape.batch, shape.window, shape.prompt, shape.max_timesteps)
        rows, steps, dim = batch.window.actions.shape
        random = rng.uniform(-1.0, 1.0, (rows, steps, self.config.random_actions, dim)).astype(np.float32)
        drawn = RandomActions(batch.prompt, batch.window, random=torch.from_numpy(random))
        return self.owned.draw(data, rng, drawn)

    def networks(self) -> Mapping[str, nn.Module]:
        return {**self.owned.networks(), "returns": self.returns}

    def descents(self) -> Mapping[str, Descent]:
        return self.owned.descents()

    def owned_loss(self, policy: Policy, batch: RandomActions, mean: Tensor) -> tuple[Mapping[str, Tensor], Metrics]:
        """Equations 10 and 11, in units of the data's returns. The policy's actions are its means, as when it acts.

        With single steps, (10) is towards what the data did next; (11) stays on the windows.
        """
        w, c, owned = batch.window, self.config, self.owned
        if not owned.learns:
            return {}, {}
        states, critic = owned.states(policy, w), owned.critic
        target, valid = owned.target(w, owned.average(states, mean).amin(0))
        values = critic(states, w.actions)
        random = critic(states.unsqueeze(2).expand(-1, -1, c.random_actions, -1), batch.random)
        anchor = values if c.anchor_data else critic(states, mean)
        floor = self.returns["reached"][w.index] if c.calibrated else None
        gap = conservative_gap(random, anchor, critic.scale, c.gap, floor)
        error = owned.error(values, target, valid) if batch.rows is None else owned.flat_error(batch.rows)
        bellman = 0.5 * error
        loss = bellman + c.alpha * masked_mean(gap.sum(0), valid)
        return {"critic": loss}, detached(
            critic_loss=loss,
            q_data=masked_mean(values[0], valid),
            q_random=masked_mean(random[0].mean(-1), valid),
        )

    def loss(self, policy: Policy, batch: RandomActions, mean: Tensor) -> tuple[Tensor, Metrics]:
        """Equation 12 in units of the data's returns, without gradient into the critics."""
        values = self.owned.critic(self.owned.states(policy, batch.window), mean, which=FIRST)[0]
        q = masked_mean(values, batch.window.mask)
        return -q / self.owned.critic.scale, detached(q_policy=q)

    def after_step(self, policy: Policy, step: int) -> None:
        self.owned.follow()
