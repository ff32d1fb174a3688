"""Advantage-weighted regression for trajtune: its options, and its line in the table of algorithms.

Everything here is read whenever somebody lists the algorithms, so it imports no torch.
"""

import math
from dataclasses import dataclass

from trajtune.algorithms import AlgorithmEntry
from trajtune.configs import check_shares
from trajtune.errors import UserError


@dataclass(frozen=True)
class AWRConfig:
    """The numbers of Peng et al. (2019), but that advantages are in deviations of the returns-to-go."""

    temperature: float = 1.0
    """Beta: an action one deviation better than expected weighs e^(1/beta) times as much. Infinite: plain SFT."""
    max_weight: float = 20.0
    """No action weighs more than this."""
    critic_learning_rate: float = 3e-4
    critic_grad_clip: float = 1.0
    floor: float = 1e-3
    """The deviation is at least this share of the mean |return-to-go|."""

    def __post_init__(self) -> None:
        for name in ("temperature", "max_weight"):
            if not getattr(self, name) > 0.0:
                raise UserError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("critic_learning_rate", "critic_grad_clip"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise UserError(f"{name} must not be negative, got {getattr(self, name)}")
        check_shares(self, "floor")


AWR = AlgorithmEntry("imitate, good actions more than bad ones", {"": AWRConfig}, "trajtune_awr.awr:AWR")
