"""Supervised finetuning: mean squared error of the actions (paper, equation 3)."""

from torch import Tensor

from trajtune.algorithms.base import Metrics, WindowAlgorithm, detached
from trajtune.algorithms.configs import SFTConfig
from trajtune.algorithms.losses import sft_loss
from trajtune.policy import Policy
from trajtune.types import Batch


class SFT(WindowAlgorithm):
    """Imitate the few-shot data."""

    def __init__(self, config: SFTConfig) -> None:
        self.config = config

    def loss(self, policy: Policy, batch: Batch, mean: Tensor) -> tuple[Tensor, Metrics]:
        loss = sft_loss(mean, batch.window.actions, batch.window.mask)
        return loss, detached(sft=loss)
