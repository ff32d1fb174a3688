"""Supervised finetuning: mean squared error of the actions (paper, equation 3)."""

import numpy as np
from torch import Tensor

from trajtune.algorithms.base import Metrics, Shape, WindowAlgorithm, detached
from trajtune.algorithms.configs import SFTConfig
from trajtune.algorithms.losses import sft_loss
from trajtune.data.trajectories import Trajectories
from trajtune.policy import Policy
from trajtune.types import Batch


class SFT(WindowAlgorithm):
    """Imitate the few-shot data, or the best of its trajectories."""

    def __init__(self, config: SFTConfig) -> None:
        self.config = config

    def draw(self, data: Trajectories, rng: np.random.Generator, shape: Shape) -> Batch:
        if self.config.quantile > 0.0:
            data = best_of(data, self.config.quantile)
        return super().draw(data, rng, shape)

    def loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Tensor, Metrics]:
        loss = sft_loss(mean, batch.window.actions, batch.window.mask)
        return loss, detached(sft=loss)


def best_of(data: Trajectories, quantile: float) -> Trajectories:
    """Return the trajectories whose return is at or above a quantile of all; never none. Steps keep their rows."""
    return data.subset(np.flatnonzero(data.returns >= np.quantile(data.returns, quantile)))
