"""Bias-only tuning for trajtune: its options, and its line in the table of tunings. No torch here."""

from dataclasses import dataclass

from trajtune.tunings import Tuning


@dataclass(frozen=True)
class BiasConfig:
    """What moves beside the biases."""

    norms: bool = False
    """The gains of the LayerNorms, too."""


BIAS = Tuning("the biases of the agent (BitFit)", BiasConfig, "trajtune_bias.bias:BiasPolicy", learning_rate=1e-3)
