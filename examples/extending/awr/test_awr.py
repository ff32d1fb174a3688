"""Weights and loss against values derived by hand."""

import math

import pytest
import torch
from trajtune_awr.awr import awr_loss, awr_weights


def test_weights_and_loss_by_hand() -> None:
    """Advantages ln 2, 0, 2 ln 2 and 9 at beta 1/2: exp(2A) is 4, 1, 16 and more than 20."""
    ln2 = math.log(2.0)
    advantages = torch.tensor([[ln2, 0.0], [2 * ln2, 9.0]], dtype=torch.float64)
    weights = awr_weights(advantages, temperature=0.5, max_weight=20.0)
    assert weights.flatten().tolist() == pytest.approx([4.0, 1.0, 16.0, 20.0], rel=1e-12)

    # Errors of (0.5, 0.1), (0, 0.2), (0.3, 0.4) have mean squares 0.13, 0.02 and 0.125; the last step is padding:
    # (4 * 0.13 + 1 * 0.02 + 16 * 0.125) / 3 = 2.54 / 3.
    mean = torch.zeros(2, 2, 2, dtype=torch.float64, requires_grad=True)
    actions = torch.tensor([[[0.5, 0.1], [0.0, 0.2]], [[0.3, 0.4], [7.0, 7.0]]], dtype=torch.float64)
    mask = torch.tensor([[True, True], [True, False]])
    loss = awr_loss(mean, actions, weights, mask)
    assert float(loss.detach()) == pytest.approx(2.54 / 3, rel=1e-12)

    # d loss / d mean = -2 w (a - mean) / (2 dimensions * 3 steps); the first is -4 * 0.5 / 3.
    loss.backward()
    assert mean.grad is not None
    expected = [-2.0 / 3, -0.4 / 3, 0.0, -0.2 / 3, -4.8 / 3, -6.4 / 3, 0.0, 0.0]
    assert mean.grad.flatten().tolist() == pytest.approx(expected, rel=1e-12)


def test_an_advantage_beyond_all_bounds_weighs_the_most() -> None:
    """Nothing overflows on the way."""
    weights = awr_weights(torch.tensor([[1e30, -1e30]]), temperature=1e-3, max_weight=20.0)
    assert weights.flatten().tolist() == pytest.approx([20.0, 0.0])
