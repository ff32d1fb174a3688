"""What a policy is: an agent under a tuning. Tunings make one, algorithms train one, neither knows the other."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from trajtune.agents.base import Actor, Agent, Spec
from trajtune.types import Batch, Prompt

B = TypeVar("B", bound=Batch)


class Policy(nn.Module, ABC):
    """An agent under a tuning: something that gives a distribution over actions.

    With dropout off (the agent is put in evaluation mode), every policy equals its reference until it is trained.
    An algorithm sees this interface and never asks which tuning is behind it. Everything here is a function of the
    module's parameters and buffers and of the batch, so that many policies can be stacked into one (``torch.func``).
    """

    delta_file: ClassVar[str] = "delta.safetensors"

    observation_mean: Tensor
    observation_std: Tensor

    def __init__(self, agent: Agent, std: float) -> None:
        super().__init__()
        self.spec: Spec = agent.spec
        self.std = std
        agent.eval()
        # Buffers of its own: the policy may move to another device than the agent it was made from.
        for name in ("observation_mean", "observation_std"):
            self.register_buffer(name, getattr(agent, name).clone(), persistent=False)

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Return the action means at every step of the windows, [B, K, A]."""

    @abstractmethod
    def reference_mean(self, batch: Batch) -> Tensor:
        """Return the same before any tuning, [B, K, A]: ``batch.reference`` where that is there."""

    @abstractmethod
    def trainable(self) -> dict[str, nn.Parameter]:
        """Return the parameters that move, by their names in this module.

        Looked up anew at every call, in ``named_parameters`` or as attributes: ``torch.func.functional_call`` puts
        other tensors in their places for a while.
        """

    @abstractmethod
    def delta(self) -> dict[str, Tensor]:
        """Return only what moved: what gets saved."""

    @abstractmethod
    def load_delta(self, delta: Mapping[str, Tensor]) -> None:
        """Take over what ``delta`` returned; ``KeyError`` or ``ValueError`` if it does not fit."""

    @abstractmethod
    def actor(self, prompts: Prompt | None, dtype: torch.dtype = torch.float32) -> Actor:
        """Return who acts as this policy under ``prompts`` [B, P], until its next training step."""

    def merged(self) -> Agent | None:
        """Return a plain agent that acts the same within rounding, a copy; None where no agent's weights say it."""
        return None

    def initialise(self, batches: Iterable[Batch]) -> None:
        """Set what starts from the data, before the first step; the actions stay the reference's. By default, nothing.

        ``batches`` are windows of the few-shot set with their prompts, the same for the same seed.
        """

    def prepare(self, batch: B) -> B:
        """Compute once a step what several will ask for; without gradient. By default, nothing."""
        return batch

    @property
    def device(self) -> torch.device:
        return self.observation_mean.device

    def normalise(self, observations: Tensor) -> Tensor:
        """Raw observations [..., S] to zero mean and unit deviation, as the agent has it."""
        return (observations - self.observation_mean) / self.observation_std

    def save_extra(self, folder: Path) -> list[str]:
        """Write files that another library's format asks for beside the delta, and return their names."""
        return []

    def normal(self, mean: Tensor) -> Normal:
        """Return the action distribution around a mean [B, K, A]: a fixed deviation (the paper leaves it open)."""
        return Normal(mean, self.std, validate_args=False)

    @torch.no_grad()
    def reference(self, batch: Batch) -> Normal:
        """Return the distribution before any tuning, without gradient."""
        return self.normal(self.reference_mean(batch))

    def mean_with(self, parameters: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Action means with other values in place of the trainable parameters (an EMA, an old snapshot)."""
        mean: Tensor = torch.func.functional_call(self, dict(parameters), (batch,))
        return mean


A = TypeVar("A", bound=nn.Module)


def frozen(module: A) -> A:
    """Return a copy that no optimiser moves."""
    return copy.deepcopy(module).requires_grad_(False).eval()
