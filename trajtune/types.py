"""The tensors that flow from data to losses. B: batch, K: window steps, P: prompt steps, S: state, A: action."""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tensors:
    """A group of tensors that move together; nested groups too, and None where there is nothing."""

    def to(self, device: torch.device | str) -> Self:
        """Return a copy with every tensor (and nested group of tensors) on ``device``."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: None if value is None else value.to(device) for name, value in moved.items()})

    def flat(self) -> dict[str, Tensor]:
        """Return every tensor by its dotted name: ``window.actions``."""
        found: dict[str, Tensor] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensors):
                found.update({f"{field.name}.{name}": tensor for name, tensor in value.flat().items()})
            elif value is not None:
                found[field.name] = value
        return found

    def with_flat(self, tensors: dict[str, Tensor]) -> Self:
        """Return a copy with the tensors of ``flat`` exchanged for others of the same names."""
        changed: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensors):
                start = f"{field.name}."
                own = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
                changed[field.name] = value.with_flat(own)
            elif value is not None:
                changed[field.name] = tensors[field.name]
        return replace(self, **changed)


@dataclass(frozen=True)
class Prompt(Tensors):
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
class Window(Tensors):
    """K consecutive steps of a trajectory, padded on the right with zeros where ``present`` is False.

    Padding on the right needs no attention mask: attention is causal and timesteps are absolute, so no valid token
    ever sees a padded one. Where a trajectory was cut off by a time limit and the state that followed is known, that
    state may stand behind the last step: it is ``present`` without being a step, and what is valued by bootstrapping
    is valued there.
    """

    returns_to_go: Tensor  # [B, K]
    observations: Tensor  # [B, K, S]
    actions: Tensor  # [B, K, A]
    rewards: Tensor  # [B, K]
    timesteps: Tensor  # [B, K] int64
    terminals: Tensor  # [B, K] bool: nothing follows this step (a time limit is not a terminal)
    mask: Tensor  # [B, K] bool: a step of the trajectory, with an action and a reward
    present: Tensor  # [B, K] bool: a state; every step, and the state behind the last one where it is known
    index: Tensor  # [B, K] int64: the step's row in the data's flat arrays


@dataclass(frozen=True)
class Batch(Tensors):
    """What every algorithm sees: windows, each with a prompt of the same task. An algorithm may add to it."""

    prompt: Prompt | None
    """None for an agent whose prompt length is 0."""
    window: Window
    reference: Tensor | None = None  # [B, K, A]
    """The reference's action means, where ``Policy.prepare`` has computed them: once a step, for all who ask."""
    rows: Tensor | None = None  # [U, n] int64
    """Rows of the data's flat arrays: U minibatches for critics that learn from them (``CriticConfig.flat_updates``).
    ``Algorithm.owned_loss`` is asked once for each, [n], and a step is taken after each."""
