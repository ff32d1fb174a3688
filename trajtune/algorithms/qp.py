"""Q-guided policy optimisation: a base algorithm's loss minus alpha times Q (paper, equations 13 to 16)."""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from trajtune.algorithms import BASE
from trajtune.algorithms.base import Algorithm, Descent, Metrics, Shape, detached
from trajtune.algorithms.configs import DPOConfig, QPConfig, SFTConfig
from trajtune.algorithms.dpo import DPO, Pairs
from trajtune.algorithms.losses import masked_mean, q_term, td_loss
from trajtune.algorithms.sft import SFT
from trajtune.algorithms.twins import TwinCritics, transitions
from trajtune.compute.tensors import Held
from trajtune.data.trajectories import Trajectories
from trajtune.policy import Policy
from trajtune.types import Batch

FIRST, SECOND = slice(0, 1), slice(1, 2)
B = TypeVar("B", bound=Batch)
T = TypeVar("T")


def of_base(named: Mapping[str, T]) -> dict[str, T]:
    """Return what belongs to the base algorithm, under names that say so."""
    return {BASE + name: value for name, value in named.items()}


class QGuided(Algorithm[B]):
    """Any base algorithm with a Q term. The critics learn by double Q-learning from the target policy's actions."""

    twins: TwinCritics
    target_policy: Held

    def __init__(self, base: Algorithm[B], config: QPConfig) -> None:
        self.base, self.config = base, config

    def setup(self, policy: Policy, data: Trajectories, seed: int) -> None:
        self.base.setup(policy, data, seed)
        self.twins = TwinCritics(policy, data, seed)
        self.target_policy = Held(policy.trainable())

    def draw(self, data: Trajectories, rng: np.random.Generator, shape: Shape) -> B:
        return self.base.draw(data, rng, shape)

    def networks(self) -> Mapping[str, nn.Module]:
        return {**of_base(self.base.networks()), **self.twins.networks(), "target_policy": self.target_policy}

    def descents(self) -> Mapping[str, Descent]:
        own = {"critic": Descent(self.config.critic_learning_rate, self.config.critic_grad_clip)}
        return {**of_base(self.base.descents()), **own}

    def owned_loss(self, policy: Policy, batch: B, mean: Tensor) -> tuple[Mapping[str, Tensor], Metrics]:
        """Equations 15 and 16. The transition at step m of a window is (s_m, a_m, r_m, s_m+1) within it.

        The target policy's action at s_m+1 is its prediction there, from one forward pass over the window. The last
        state of a window has none: it counts only where it is terminal. At a time limit s_m+1 is the state that
        followed, where the data have it.
        """
        losses, metrics = self.base.owned_loss(policy, batch, mean)
        w, c = batch.window, self.config
        states, valid = policy.normalise(w.observations), transitions(w)
        with torch.no_grad():
            actions = policy.mean_with(self.target_policy.values(), batch)
        target = self.twins.target(states, actions, w, c.gamma)
        values = self.twins.critic(states, w.actions)
        loss = td_loss(values, target, valid)
        own = detached(td=loss, q_data=masked_mean(values[0], valid))
        return {**of_base(losses), "critic": loss}, {**of_base(metrics), **own}

    def loss(self, policy: Policy, batch: B, mean: Tensor) -> tuple[Tensor, Metrics]:
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
        return loss, {**of_base(metrics), **detached(q_term=q, q_policy=masked_mean(guide, mask))}

    def after_step(self, policy: Policy, step: int) -> None:
        self.base.after_step(policy, step)
        self.target_policy.follow(policy.trainable(), self.config.tau)
        self.twins.follow(self.config.tau)


def qp_sft(config: QPConfig, base: SFTConfig) -> QGuided[Batch]:
    """Equation 13: supervised finetuning with a Q term."""
    return QGuided(SFT(base), config)


def qp_dpo(config: QPConfig, base: DPOConfig) -> QGuided[Pairs]:
    """Equation 14: direct preference optimisation with a Q term."""
    return QGuided(DPO(base), config)
