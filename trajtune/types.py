"""The tensors that flow from data to losses. B: batch, K: window steps, P: prompt steps, S: state, A: action."""

from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class _Tensors:
    def to(self, device: torch.device | str) -> Self:
        """Return a copy with every tensor (and nested group of tensors) on ``device``."""
        return replace(self, **{f.name: getattr(self, f.name).to(device) for f in fields(self)})


@dataclass(frozen=True)
class Prompt(_Tensors):
    """The steps of one trajectory that tell the agent which task it faces. Always full: nothing is padded."""

    returns_to_go: Tensor  # [B, P]
    observations: Tensor  # [B, P, S]
    actions: Tensor  # [B, P, A]
    timesteps: Tensor  # [B, P] int64

    def __len__(self) -> int:
        return len(self.returns_to_go)

    def __getitem__(self, rows: Tensor | slice) -> "Prompt":
        return Prompt(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


@dataclass(frozen=True)
class Window(_Tensors):
    """K consecutive steps of a trajectory, padded on the right with zeros where ``mask`` is False.

    Padding on the right needs no attention mask: attention is causal and timesteps are absolute, so no valid token
    ever sees a padded one.
    """

    returns_to_go: Tensor  # [B, K]
    observations: Tensor  # [B, K, S]
    actions: Tensor  # [B, K, A]
    rewards: Tensor  # [B, K]
    timesteps: Tensor  # [B, K] int64
    terminals: Tensor  # [B, K] bool: nothing follows this step (a time limit is not a terminal)
    mask: Tensor  # [B, K] bool
    index: Tensor  # [B, K] int64: the step's row in the data's flat arrays


@dataclass(frozen=True)
class Batch(_Tensors):
    """What every algorithm sees: windows, each with a prompt of the same task."""

    prompt: Prompt
    window: Window
