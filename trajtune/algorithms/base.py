"""What an algorithm is: which batches it wants, what it owns, and a loss from a policy and a batch."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from torch import Tensor, nn

from trajtune.algorithms import ALGORITHMS, algorithm_configs
from trajtune.data.sampling import draw_batch
from trajtune.data.trajectories import Trajectories
from trajtune.policy import Policy
from trajtune.registry import resolve
from trajtune.types import Batch

Metrics = dict[str, Tensor]
B = TypeVar("B", bound=Batch)


@dataclass(frozen=True)
class Shape:
    """How many windows a batch has, how long windows and prompts are, and the longest episode the agent knows."""

    batch: int
    window: int
    prompt: int
    max_timesteps: int


@dataclass(frozen=True)
class Descent:
    """How the trainer moves one of the networks that an algorithm owns: AdamW, the gradient's norm clipped."""

    learning_rate: float
    grad_clip: float


class Algorithm(ABC, Generic[B]):
    """A loss that moves a policy, with whatever it owns besides (critics, targets, snapshots).

    It never takes an optimiser's step: it says what is to be minimised, and the trainer does it. All randomness is in
    ``draw``, all state in ``networks``: the rest is a function of parameters and batch, so that a whole run is one of
    stacked parameters, too.
    """

    def setup(self, policy: Policy, data: Trajectories, seed: int) -> None:
        """Build what depends on the policy and the data. Called once, before the first step."""

    @abstractmethod
    def draw(self, data: Trajectories, rng: np.random.Generator, shape: Shape) -> B:
        """Draw the kind of batch this algorithm wants."""

    def facts(self) -> Mapping[str, float]:
        """Return what it measured of its data in ``setup``, to be said once: what a critic is worth, for instance."""
        return {}

    def notes(self) -> Sequence[str]:
        """Return lines about what these data mean for this algorithm, such as that nothing will move."""
        return ()

    def rate(self) -> float:
        """Return which share of the learning rate the policy takes on these data, known from ``setup`` on."""
        return 1.0

    def networks(self) -> Mapping[str, nn.Module]:
        """Return everything it owns, by name, from ``setup`` on: what is checkpointed, stacked and tested."""
        return {}

    def descents(self) -> Mapping[str, Descent]:
        """Return which of its networks learn, and how."""
        return {}

    def owned_loss(self, policy: Policy, batch: B, mean: Tensor) -> tuple[Mapping[str, Tensor], Metrics]:
        """Return a loss for every network of ``descents``, and what to log; taken before the policy's loss.

        ``mean`` [B, K, A] is ``policy(batch)`` without its graph: critics do not train policies. Where the batch has
        ``rows``, this is asked once for each of them, and the networks take a step after each.
        """
        return {}, {}

    @abstractmethod
    def loss(self, policy: Policy, batch: B, mean: Tensor) -> tuple[Tensor, Metrics]:
        """Return the scalar that the policy minimises, and what to log (detached scalars).

        ``mean`` [B, K, A] is ``policy(batch)``, computed once so that wrapped algorithms share one forward pass.
        Gradients reach the policy alone, whatever the loss passes through.
        """

    def after_step(self, policy: Policy, step: int) -> None:
        """Follow the policy after it moved (EMA, snapshots)."""


class WindowAlgorithm(Algorithm[Batch]):
    """One that wants windows and prompts, and nothing else."""

    def draw(self, data: Trajectories, rng: np.random.Generator, shape: Shape) -> Batch:
        return draw_batch(data, rng, shape.batch, shape.window, shape.prompt, shape.max_timesteps)


def make_algorithm(name: str, options: Mapping[str, Any] | None = None) -> Algorithm[Any]:
    """Build an algorithm; ``options`` override the fields of its configs."""
    algorithm: Algorithm[Any] = resolve(ALGORITHMS[name].build)(*algorithm_configs(name, options))
    return algorithm


def detached(**metrics: Any) -> Metrics:
    """Return metrics without their graphs."""
    return {name: value.detach() for name, value in metrics.items()}
