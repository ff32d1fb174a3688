"""Conservative Q-learning: random actions are valued less, and the policy maximises Q (paper, equations 10 to 12)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trajtune.algorithms.base import Algorithm, Metrics, Shape, detached
from trajtune.algorithms.losses import cql_loss, masked_mean
from trajtune.algorithms.owned import TwinCritics, descend, learning, transitions
from trajtune.configs import check_shares
from trajtune.data import Trajectories, draw_batch
from trajtune.errors import UserError
from trajtune.policy import Policy
from trajtune.types import Batch

FIRST = slice(0, 1)


@dataclass(frozen=True)
class CQLConfig:
    """The paper names none of these numbers."""

    alpha: float = 1.0
    """Weight of the conservative term (11)."""
    anchor_data: bool = False
    """Raise the values of the data's actions, as Kumar et al. (2020) do, instead of the current policy's as (11)."""
    random_actions: int = 1
    """Actions of the random policy mu (uniform in [-1, 1]) a step, for the first expectation in (11).

    One is an unbiased estimate: drawn anew every step, and averaged over the batch. More cost a critic's pass each.
    """
    gamma: float = 0.99
    tau: float = 0.005
    """Step of the target critics' moving average."""
    critic_learning_rate: float = 3e-4
    critic_grad_clip: float = 1.0

    def __post_init__(self) -> None:
        if self.random_actions < 1:
            raise UserError(f"random_actions must be at least 1, got {self.random_actions}")
        check_shares(self, "gamma", "tau")


@dataclass(frozen=True)
class RandomActions(Batch):
    """Windows with actions of the random policy at every step."""

    random: Tensor  # [B, K, N, A]


class CQL(Algorithm):
    """Learn Q conservatively and act to maximise it. Nothing else holds the policy."""

    twins: TwinCritics

    def __init__(self, config: CQLConfig) -> None:
        self.config = config

    def setup(self, policy: Policy, data: Trajectories, seed: int) -> None:
        inputs = data.observations.shape[1] + data.actions.shape[1]
        self.twins = TwinCritics(inputs, seed, policy.observation_mean.device, self.config.critic_learning_rate)

    def draw(self, data: Trajectories, rng: np.random.Generator, shape: Shape) -> RandomActions:
        batch = draw_batch(data, rng, shape.batch, shape.window, shape.prompt)
        rows, steps, dim = batch.window.actions.shape
        random = rng.uniform(-1.0, 1.0, (rows, steps, self.config.random_actions, dim)).astype(np.float32)
        return RandomActions(batch.prompt, batch.window, torch.from_numpy(random))

    def update_critic(self, policy: Policy, batch: Batch, mean: Tensor) -> Metrics:
        """Equations 10 and 11. The policy's actions are its means, as in (12) and when it acts."""
        assert isinstance(batch, RandomActions)
        w, c, critic = batch.window, self.config, self.twins.critic
        states, valid = policy.normalise(w.observations), transitions(w)
        target = self.twins.target(states, mean, w, c.gamma)
        with learning(critic):
            values = critic(states, w.actions)
            random = critic(states.unsqueeze(2).expand(-1, -1, c.random_actions, -1), batch.random)
            anchor = values if c.anchor_data else critic(states, mean)
            loss = cql_loss(values, target, random, anchor, c.alpha, valid)
            norm = descend(self.twins.optimizer, loss, c.critic_grad_clip)
        return detached(
            critic_loss=loss,
            critic_grad_norm=norm,
            q_data=masked_mean(values[0], valid),
            q_random=masked_mean(random[0].mean(-1), valid),
        )

    def loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Tensor, Metrics]:
        """Equation 12, without gradient into the critics."""
        values = self.twins.critic(policy.normalise(batch.window.observations), mean, which=FIRST)[0]
        q = masked_mean(values, batch.window.mask)
        return -q, detached(q_policy=q)

    def after_step(self, policy: Policy, step: int) -> None:
        self.twins.follow(self.config.tau)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"critic": self.twins.optimizer}

    def state(self) -> dict[str, Tensor]:
        return self.twins.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.twins.load_state(state)
