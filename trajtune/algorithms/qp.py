"""Q-guided policy optimisation: a base algorithm's loss minus alpha times Q (paper, equations 13 to 16)."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from trajtune.algorithms import BASE
from trajtune.algorithms.base import Algorithm, Descent, Metrics, Shape, detached
from trajtune.algorithms.configs import CriticConfig, DPOConfig, QPConfig, SFTConfig
from trajtune.algorithms.critics import Critic
from trajtune.algorithms.dpo import DPO, Pairs
from trajtune.algorithms.losses import masked_mean
from trajtune.algorithms.owned import OwnedCritic, trusted_critic
from trajtune.algorithms.sft import SFT
from trajtune.compute.tensors import Held
from trajtune.data.trajectories import Trajectories
from trajtune.policy import Policy
from trajtune.seeds import torch_stream
from trajtune.types import Batch

OTHERS = slice(1, None)
B = TypeVar("B", bound=Batch)
T = TypeVar("T")


def of_base(named: Mapping[str, T]) -> dict[str, T]:
    """Return what belongs to the base algorithm, under names that say so."""
    return {BASE + name: value for name, value in named.items()}


class QGuided(Algorithm[B]):
    """Any base algorithm with a Q term. The critics learn by double Q-learning from the target policy's actions."""

    owned: OwnedCritic | None = None
    """None where alpha is nothing: it is the base algorithm then, to the bit, and costs what that costs."""
    target_policy: Held
    trust: Held

    def __init__(self, base: Algorithm[B], config: QPConfig, critic: CriticConfig) -> None:
        self.base, self.config, self.critic_config = base, config, critic
        self._facts: Mapping[str, float] = {}
        self._notes: Sequence[str] = ()

    def setup(self, policy: Policy, data: Trajectories, seed: int) -> None:
        self.base.setup(policy, data, seed)
        if self.config.alpha == 0.0:
            return
        found = trusted_critic(policy, data, seed, self.critic_config, "q", self.config.trust)
        self._facts, self._notes, self.owned = found.facts, found.notes, found.owned
        if self.owned is not None:
            self.target_policy = Held(policy.trainable())
            self.trust = Held({"alpha": torch.tensor(self.config.alpha * found.trust)}).to(policy.device)

    def facts(self) -> Mapping[str, float]:
        return {**of_base(self.base.facts()), **self._facts}

    def notes(self) -> Sequence[str]:
        return [*self.base.notes(), *self._notes]

    def draw(self, data: Trajectories, rng: np.random.Generator, shape: Shape) -> B:
        batch = self.base.draw(data, rng, shape)
        return batch if self.owned is None else self.owned.draw(data, rng, batch)

    def networks(self) -> Mapping[str, nn.Module]:
        base = of_base(self.base.networks())
        if self.owned is None:
            return base
        return {**base, **self.owned.networks(), "target_policy": self.target_policy, "trust": self.trust}

    def descents(self) -> Mapping[str, Descent]:
        return {**of_base(self.base.descents()), **(self.owned.descents() if self.owned else {})}

    def owned_loss(self, policy: Policy, batch: B, mean: Tensor) -> tuple[Mapping[str, Tensor], Metrics]:
        """Equations 15 and 16. The transition at step m of a window is (s_m, a_m, r_m, s_m+1) within it.

        The target policy's action at s_m+1 is its prediction there, from one forward pass over the window. The last
        state of a window has none: it counts only where it is terminal. At a time limit s_m+1 is the state that
        followed, where the data have it.
        """
        losses, metrics = self.base.owned_loss(policy, batch, mean)
        w, owned = batch.window, self.owned
        if owned is None or not owned.learns:
            return of_base(losses), of_base(metrics)
        if batch.rows is not None:
            loss = owned.flat_error(batch.rows)
            return {**of_base(losses), "critic": loss}, {**of_base(metrics), **detached(td=loss)}
        states = owned.states(policy, w)
        with torch.no_grad():
            actions = policy.mean_with(self.target_policy.values(), batch)
        target, valid = owned.target(w, self._best(owned, states, actions).amin(0))
        values = owned.critic(states, w.actions)
        loss = owned.error(values, target, valid)
        own = detached(td=loss, q_data=masked_mean(values[0], valid))
        return {**of_base(losses), "critic": loss}, {**of_base(metrics), **own}

    def _best(self, owned: OwnedCritic, states: Tensor, actions: Tensor) -> Tensor:
        """Target values [members, B, K] of the actions, or the best of several around them.

        The noise is the same for every state: fixed offsets, since all randomness of a step is in its batch.
        """
        values = owned.average(states, actions)
        if (count := self.config.target_actions) == 1:
            return values
        generator = torch_stream(0, "target-actions")
        noise = torch.randn(count - 1, actions.shape[-1], generator=generator).to(actions.device)
        for offset in noise * self.config.target_noise:
            values = values.maximum(owned.average(states, (actions + offset).clamp(-1.0, 1.0)))
        return values

    def loss(self, policy: Policy, batch: B, mean: Tensor) -> tuple[Tensor, Metrics]:
        """Equations 13 and 14: the base loss minus alpha * Q(s, pi(s)), without gradient into the critics.

        (14) is printed without the minus before log sigma; the base's loss (4) has it.
        """
        base, metrics = self.base.loss(policy, batch, mean)
        if (owned := self.owned) is None:
            return base, of_base(metrics)
        states, mask = owned.states(policy, batch.window), batch.window.mask
        values, slope = owned.critic.with_slope(states, mean.detach())
        q = masked_mean(values + (slope * (mean - mean.detach())).sum(-1), mask)  # of Q its value and its slope
        term = q / self._unit(owned.critic, states, mean.detach(), slope, mask)
        loss = base - self.trust["alpha"] * term
        return loss, {**of_base(metrics), **detached(q_term=term, q_policy=q)}

    @torch.no_grad()
    def _unit(self, critic: Critic, states: Tensor, actions: Tensor, slope: Tensor, mask: Tensor) -> Tensor:
        """What Q is divided by: see ``QPConfig.scale``."""
        if self.config.scale == "magnitude":
            others = critic(states, actions, which=OTHERS)
            return masked_mean(others.abs().mean(0), mask).clamp_min(1e-6)
        if self.config.scale == "gradient":
            return masked_mean(slope.abs().mean(-1), mask).clamp_min(1e-6)
        return torch.ones((), device=mask.device)

    def after_step(self, policy: Policy, step: int) -> None:
        self.base.after_step(policy, step)
        if self.owned is not None and self.owned.learns:
            self.target_policy.follow(policy.trainable(), self.config.tau)
            self.owned.follow()


def qp_sft(config: QPConfig, critic: CriticConfig, base: SFTConfig) -> QGuided[Batch]:
    """Equation 13: supervised finetuning with a Q term."""
    return QGuided(SFT(base), config, critic)


def qp_dpo(config: QPConfig, critic: CriticConfig, base: DPOConfig) -> QGuided[Pairs]:
    """Equation 14: direct preference optimisation with a Q term."""
    return QGuided(DPO(base), config, critic)
