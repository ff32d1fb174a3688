"""The critic that an algorithm owns: warmed up on the few-shot set, learning on, with its moving average."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from trajtune.algorithms.base import Descent
from trajtune.algorithms.configs import CriticConfig
from trajtune.algorithms.losses import masked_mean, n_step_target
from trajtune.algorithms.transitions import Transitions, folds_of, transitions_of
from trajtune.algorithms.trust import trust_in_critic, trust_in_data
from trajtune.algorithms.warming import Over, followed, inputs_of, warm_critic
from trajtune.compute.tensors import Held
from trajtune.data.trajectories import Trajectories
from trajtune.policy import Policy
from trajtune.types import Batch, Window

FIRST = slice(0, 1)
B = TypeVar("B", bound=Batch)


class OwnedCritic:
    """Q networks (``q``) with their moving averages, or V networks (``v``), and what they are worth."""

    averages: Held  # of Q alone
    steps: Held
    """The data as single steps, where it learns from those: ``states`` [M, D], ``actions`` [M, A], ``rewards``,
    ``terminal``, ``follows`` [M], ``next_states``, ``next_actions``."""

    def __init__(self, policy: Policy, data: Trajectories, seed: int, config: CriticConfig, over: Over) -> None:
        self.config = config
        self.critic, self.worth = warm_critic(policy, data, seed, config, over)
        if over == "q":
            self.averages = Held(dict(self.critic.named_parameters()))
        self.longest = float(data.length.max())
        if config.flat_updates:
            self.steps = Held(single_steps(transitions_of(policy, data, config.gamma), config, over)).to(policy.device)

    def states(self, policy: Policy, window: Window) -> Tensor:
        """Return what a critic sees of the states of a window: [B, K, S (+ 1)]."""
        states = policy.normalise(window.observations)
        if not self.config.time:
            return states
        return torch.cat([states, (window.timesteps / self.longest).unsqueeze(-1)], dim=-1)

    def average(self, *inputs: Tensor) -> Tensor:
        """Return what the moving averages say, [members, ...], without gradient."""
        with torch.no_grad():
            values: Tensor = torch.func.functional_call(self.critic, self.averages.values(), inputs)
        return values

    def target(self, window: Window, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bootstrapped target of every step [B, K], and where there is one [B, K] bool.

        ``values`` [B, K] is of each state of the window; equation 16, or n steps of it.
        """
        return n_step_target(window, values, self.config.gamma, self.config.n_step)

    def draw(self, data: Trajectories, rng: np.random.Generator, batch: B) -> B:
        """Add the rows of single steps that it learns from, if it does."""
        if not self.config.flat_updates:
            return batch
        rows = rng.integers(len(data.rewards), size=(self.config.flat_updates, self.config.warm_batch))
        return replace(batch, rows=torch.from_numpy(rows))

    def taken(self, rows: Tensor) -> dict[str, Tensor]:
        """Return ``steps`` at the rows [n] of a minibatch."""
        return {name: value[rows] for name, value in self.steps.values().items()}

    def flat_error(self, rows: Tensor) -> Tensor:
        """Return the error of Q at single steps, towards r + gamma * Q(what the data did next): SARSA."""
        s = self.taken(rows)
        later = self.average(s["next_states"], s["next_actions"]).amin(0)
        target = s["rewards"] + self.config.gamma * torch.where(s["terminal"], 0.0, later)
        return self.error(self.critic(s["states"], s["actions"]), target, s["follows"])

    def error(self, values: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Return the squared error of every member's ``values`` [members, ...], in units of the data's returns.

        Equation 15 but for the constant: so a learning rate means the same whatever the reward's scale.
        """
        return masked_mean(((values - target) / self.critic.scale).square().sum(0), mask)

    def follow(self) -> None:
        """Move the averages; as far as several steps would where it has taken several."""
        tau = 1.0 - (1.0 - self.config.tau) ** max(1, self.config.flat_updates)
        self.averages.follow(dict(self.critic.named_parameters()), tau)

    def networks(self) -> Mapping[str, nn.Module]:
        averages = {"target_critic": self.averages} if hasattr(self, "averages") else {}
        steps = {"steps": self.steps} if hasattr(self, "steps") else {}
        return {"critic": self.critic, **averages, **steps}

    def descents(self) -> Mapping[str, Descent]:
        return {"critic": Descent(self.config.learning_rate, self.config.grad_clip)} if self.learns else {}

    @property
    def learns(self) -> bool:
        """Whether it goes on learning after the warm-up."""
        return self.config.learning_rate > 0.0


@dataclass(frozen=True)
class Trusted:
    """A critic with how far it is trusted, from 0 to 1; None where it is not trusted at all."""

    owned: OwnedCritic | None
    trust: float
    facts: Mapping[str, float]
    notes: Sequence[str] = ()


def trusted_critic(
    policy: Policy, data: Trajectories, seed: int, config: CriticConfig, over: Over, asked: bool
) -> Trusted:
    """Build a critic and weigh it by the data and by what it explains (``trust``); if not ``asked``, trust it fully.

    Where trust is 0 nothing is warmed up that does not have to be.
    """
    if not asked:
        owned = OwnedCritic(policy, data, seed, config, over)
        return Trusted(owned, 1.0, owned.worth)
    trust, why = trust_in_data(policy, data, seed)
    if trust == 0.0:
        return Trusted(None, 0.0, {"trust": 0.0}, [f"{why}, so it imitates, and asks no critic (trust=false insists)"])
    owned = OwnedCritic(policy, data, seed, config, over)
    trust *= trust_in_critic(owned.worth["critic_error"])
    facts = {**owned.worth, "trust": trust}
    if trust > 0.0:
        return Trusted(owned, trust, facts)
    why = "of trajectories that it has not seen the critic knows less than their mean return (critic_error)"
    return Trusted(None, 0.0, facts, [f"{why}, so it imitates, and does not ask it (trust=false insists)"])


def single_steps(table: Transitions, config: CriticConfig, over: Over) -> dict[str, Tensor]:
    """Return what a critic learns from at single steps, as ``OwnedCritic.steps`` has it."""
    return {
        "states": inputs_of(table, config, "v"),
        "actions": table.actions,
        "rewards": table.rewards,
        "terminal": table.terminal,
        "follows": followed(table, over),
        "next_states": inputs_of(table, config, "v", following=True),
        "next_actions": table.next_actions,
    }


def members_of(data: Trajectories, members: int) -> Tensor:
    """Tell which member has not seen a trajectory's steps while it was warmed up: [M + 1] int64, -1 where all have.

    Where several have not, the first of them.
    """
    folds = folds_of(len(data), members)
    found = torch.full((len(data.rewards) + 1,), -1, dtype=torch.int64)
    for i, (start, length) in enumerate(zip(data.start, data.length, strict=True)):
        if folds and i % folds < members:
            found[start : start + length] = i % folds
    return found


def unseen(values: Tensor, member: Tensor) -> Tensor:
    """Return of ``values`` [members, ...] what the member says that has not seen it, [...]; their mean where all have.

    ``member`` [...] is of ``members_of``.
    """
    own = values.gather(0, member.clamp_min(0).unsqueeze(0))[0]
    return torch.where(member < 0, values.mean(0), own)
