"""Which parameters move, counted by hand."""

from torch import nn
from trajtune_bias import BiasConfig
from trajtune_bias.bias import movable


def test_biases_move_and_gains_if_asked() -> None:
    """An embedding and a layer without a bias have nothing that moves."""
    agent = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2, bias=False), nn.Embedding(5, 2))
    assert movable(agent, BiasConfig()) == ["0.bias", "1.bias"]
    assert movable(agent, BiasConfig(norms=True)) == ["0.bias", "1.weight", "1.bias"]
