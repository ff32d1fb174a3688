"""What a policy is: an agent under a tuning. Tunings make one, algorithms train one, neither knows the other."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from trajtune.agents import PromptDT
from trajtune.types import Batch, Prompt


class Plain(NamedTuple):
    """A policy boiled down to what acting needs: an agent without wrappers, and what stands beside it."""

    agent: PromptDT
    prompt: Prompt | None = None
    """A prompt [1, P] of the policy's own; ``None`` acts under the task's prompts."""
    residual: nn.Module | None = None
    """Added to the action mean, given the normalised state; the sum is clipped to [-1, 1]."""

    def to(self, device: torch.device | str) -> "Plain":
        """Move all of it to a device; modules move in place."""
        prompt = None if self.prompt is None else self.prompt.to(device)
        residual = None if self.residual is None else self.residual.to(device)
        return Plain(self.agent.to(device), prompt, residual)


class Policy(nn.Module, ABC):
    """An agent under a tuning: something that gives a distribution over actions.

    With dropout off (the agent is put in evaluation mode), every policy equals its reference until it is trained.
    An algorithm sees this interface and never asks which tuning is behind it.
    """

    learning_rate: ClassVar[float]
    """Where AdamW starts unless told otherwise: few parameters that start at zero want larger steps."""
    delta_file: ClassVar[str] = "delta.safetensors"

    observation_mean: Tensor
    observation_std: Tensor

    def __init__(self, agent: PromptDT, std: float) -> None:
        super().__init__()
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
        """Return the same before any tuning, [B, K, A]."""

    @abstractmethod
    def trainable(self) -> dict[str, nn.Parameter]:
        """Return the parameters that move, by their names in this module."""

    @abstractmethod
    def delta(self) -> dict[str, Tensor]:
        """Return only what moved: what gets saved."""

    @abstractmethod
    def load_delta(self, delta: Mapping[str, Tensor]) -> None:
        """Take over what ``delta`` returned; ``KeyError`` or ``ValueError`` if it does not fit."""

    @abstractmethod
    def plain(self) -> Plain:
        """Return what acting needs, as a copy that later training does not change."""

    def normalise(self, observations: Tensor) -> Tensor:
        """Raw observations [..., S] to zero mean and unit deviation, as the agent has it."""
        return (observations - self.observation_mean) / self.observation_std

    def save_extra(self, folder: Path) -> None:
        """Write files that another library's format asks for beside the delta."""

    def dist(self, batch: Batch) -> Normal:
        """Normal over actions [B, K, A]: the tanh mean and a fixed deviation (the paper leaves it open)."""
        return self.normal(self(batch))

    def normal(self, mean: Tensor) -> Normal:
        """Return the action distribution around a mean [B, K, A]."""
        return Normal(mean, self.std, validate_args=False)

    @torch.no_grad()
    def reference(self, batch: Batch) -> Normal:
        """Return the distribution before any tuning, without gradient."""
        return self.normal(self.reference_mean(batch))

    def mean_with(self, parameters: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Action means with other values in place of the trainable parameters (an EMA, an old snapshot)."""
        mean: Tensor = torch.func.functional_call(self, dict(parameters), (batch,))
        return mean

    def snapshot(self) -> dict[str, Tensor]:
        """Return a copy of the trainable parameters, for ``mean_with``."""
        return {name: parameter.detach().clone() for name, parameter in self.trainable().items()}


def frozen(agent: PromptDT) -> PromptDT:
    """Return a copy of an agent that no optimiser moves."""
    return copy.deepcopy(agent).requires_grad_(False).eval()


def load_parameters(
    parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor], *, complete: bool = False
) -> None:
    """Copy values into parameters of the same names and shapes; if ``complete``, into every one."""
    if complete and (missing := sorted(parameters.keys() - values.keys())):
        raise KeyError(f"{missing[0]} is missing")
    for name, value in values.items():
        if name not in parameters:
            raise KeyError(f"{name} is not a parameter of this tuning")
        if parameters[name].shape != value.shape:
            raise ValueError(f"{name} is {tuple(value.shape)}, expected {tuple(parameters[name].shape)}")
        parameters[name].data.copy_(value)
