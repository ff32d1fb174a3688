"""Q-guided policy optimisation: a base algorithm's loss minus alpha times Q (paper, equations 13 to 16)."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trajtune.algorithms.base import Algorithm, Metrics, Shape, detached
from trajtune.algorithms.losses import masked_mean, q_term, td_loss
from trajtune.algorithms.owned import TwinCritics, descend, follow, learning, prefixed, transitions, under
from trajtune.configs import check_shares
from trajtune.data import Trajectories
from trajtune.errors import UserError
from trajtune.policy import Policy
from trajtune.types import Batch

FIRST, SECOND = slice(0, 1), slice(1, 2)


@dataclass(frozen=True)
class QPConfig:
    """What the Q term adds to the base algorithm; the base's own options stand beside these."""

    alpha: float = 0.1
    """Weight of the Q term. The paper finds 0.1 to 1 robust (appendix F)."""
    normalise_q: bool = True
    """Divide the Q term by the detached mean |Q| of the other critic, so that alpha is free of reward scale."""
    gamma: float = 0.99
    tau: float = 0.005
    """Step of the moving averages: target critics and target policy."""
    critic_learning_rate: float = 3e-4
    critic_grad_clip: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.alpha):
            raise UserError(f"alpha must be finite, got {self.alpha}")
        check_shares(self, "gamma", "tau")


class QGuided(Algorithm):
    """Any base algorithm with a Q term. The critics learn by double Q-learning from the target policy's actions."""

    twins: TwinCritics
    target_policy: dict[str, Tensor]

    def __init__(self, base: Algorithm, config: QPConfig) -> None:
        self.base, self.config = base, config

    def setup(self, policy: Policy, data: Trajectories, seed: int) -> None:
        self.base.setup(policy, data, seed)
        inputs = data.observations.shape[1] + data.actions.shape[1]
        self.twins = TwinCritics(inputs, seed, policy.observation_mean.device, self.config.critic_learning_rate)
        self.target_policy = policy.snapshot()

    def draw(self, data: Trajectories, rng: np.random.Generator, shape: Shape) -> Batch:
        return self.base.draw(data, rng, shape)

    def update_critic(self, policy: Policy, batch: Batch, mean: Tensor) -> Metrics:
        """Equations 15 and 16. The transition at step m of a window is (s_m, a_m, r_m, s_m+1) within it.

        The target policy's action at s_m+1 is its prediction there, from one forward pass over the window. The last
        step of a window counts only where it is terminal: nothing then needs to be known of what follows.
        """
        base = self.base.update_critic(policy, batch, mean)
        w, c = batch.window, self.config
        states, valid = policy.normalise(w.observations), transitions(w)
        with torch.no_grad():
            actions = policy.mean_with(self.target_policy, batch)
        target = self.twins.target(states, actions, w, c.gamma)
        with learning(self.twins.critic):
            values = self.twins.critic(states, w.actions)
            loss = td_loss(values, target, valid)
            norm = descend(self.twins.optimizer, loss, c.critic_grad_clip)
        return {**base, **detached(td=loss, critic_grad_norm=norm, q_data=masked_mean(values[0], valid))}

    def loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Tensor, Metrics]:
        """Equations 13 and 14: the base loss minus alpha * Q(s, pi(s)), without gradient into the critics.

        (14) is printed without the minus before log sigma; the base's loss (4) has it.
        """
        base, metrics = self.base.loss(policy, batch, mean)
        states, mask = policy.normalise(batch.window.observations), batch.window.mask
        guide = self.twins.critic(states, mean, which=FIRST)[0]
        other = None
        if self.config.normalise_q:
            with torch.no_grad():
                other = self.twins.critic(states, mean, which=SECOND)[0]
        q = q_term(guide, other, mask)
        loss = base - self.config.alpha * q
        return loss, {**metrics, **detached(q_term=q, q_policy=masked_mean(guide, mask))}

    def after_step(self, policy: Policy, step: int) -> None:
        self.base.after_step(policy, step)
        follow(self.target_policy, policy.trainable(), self.config.tau)
        self.twins.follow(self.config.tau)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {**{f"base.{n}": o for n, o in self.base.optimizers().items()}, "critic": self.twins.optimizer}

    def state(self) -> dict[str, Tensor]:
        return {
            **prefixed("base.", self.base.state()),
            **self.twins.state(),
            **prefixed("target_policy.", self.target_policy),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.base.load_state(under("base.", state))
        self.twins.load_state(state)
        self.target_policy = under("target_policy.", state)
