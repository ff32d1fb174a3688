"""Supervised finetuning: mean squared error of the actions (paper, equation 3)."""

from dataclasses import dataclass

from torch import Tensor

from trajtune.algorithms.base import Algorithm, Metrics, detached
from trajtune.algorithms.losses import sft_loss
from trajtune.policy import Policy
from trajtune.types import Batch


@dataclass(frozen=True)
class SFTConfig:
    """Nothing to choose."""


class SFT(Algorithm):
    """Imitate the few-shot data."""

    def __init__(self, config: SFTConfig) -> None:
        self.config = config

    def loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Tensor, Metrics]:
        loss = sft_loss(mean, batch.window.actions, batch.window.mask)
        return loss, detached(sft=loss)
