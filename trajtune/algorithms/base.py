"""What an algorithm is: which batches it wants, and a loss from a policy and a batch."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trajtune.data import Trajectories, draw_batch
from trajtune.policy import Policy
from trajtune.types import Batch

Metrics = dict[str, Tensor]


@dataclass(frozen=True)
class Shape:
    """How many windows a batch has and how long windows and prompts are."""

    batch: int
    window: int
    prompt: int


class Algorithm(ABC):
    """A loss that moves a policy, with whatever it owns besides (critics, targets, snapshots).

    All randomness is in ``draw``: the rest is a function of parameters and batch.
    """

    def setup(self, policy: Policy, data: Trajectories, seed: int) -> None:  # noqa: B027
        """Build what depends on the policy and the data. Called once, before the first step."""

    def draw(self, data: Trajectories, rng: np.random.Generator, shape: Shape) -> Batch:
        """Draw the kind of batch this algorithm wants."""
        return draw_batch(data, rng, shape.batch, shape.window, shape.prompt)

    def update_critic(self, policy: Policy, batch: Batch, mean: Tensor) -> Metrics:
        """Update what the algorithm owns; called before the loss of the same step.

        ``mean`` [B, K, A] is ``policy(batch)`` without its graph: critics do not train policies.
        """
        return {}

    @abstractmethod
    def loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Tensor, Metrics]:
        """Return the scalar that the policy minimises, and what to log (detached scalars).

        ``mean`` [B, K, A] is ``policy(batch)``, computed once so that wrapped algorithms share one forward pass.
        """

    def after_step(self, policy: Policy, step: int) -> None:  # noqa: B027
        """Follow the policy after it moved (EMA, snapshots)."""

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimisers of what the algorithm owns, to be checkpointed."""
        return {}

    def state(self) -> dict[str, Tensor]:
        """Return the tensors the algorithm owns, to be checkpointed."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:  # noqa: B027
        """Take over what ``state`` returned."""


def detached(**metrics: Any) -> Metrics:
    """Return metrics without their graphs."""
    return {name: value.detach() for name, value in metrics.items()}
