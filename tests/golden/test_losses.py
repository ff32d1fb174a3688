"""Every loss against a value worked out by hand from its equation, in float64."""

import math

import pytest
import torch

from tests.golden.by_hand import HUGE, MASK, NAN, close, tensor
from trajtune.algorithms.losses import masked_mean, sft_loss


class TestMaskedMean:
    def test_divides_by_what_is_valid(self) -> None:
        close(masked_mean(tensor([[1.0, 2.0, 7.0], [6.0, 8.0, 9.0]]), MASK), (1 + 2 + 6) / 3)

    @pytest.mark.parametrize("garbage", [NAN, math.inf, -HUGE])
    def test_padding_never_counts(self, garbage: float) -> None:
        values = tensor([[1.0, 2.0, garbage], [6.0, garbage, garbage]])
        close(masked_mean(values, MASK), (1 + 2 + 6) / 3)

    def test_gradient_is_shared_by_the_valid_alone(self) -> None:
        values = tensor([[1.0, 2.0, 7.0], [6.0, NAN, 9.0]]).requires_grad_()
        masked_mean(values, MASK).backward()
        assert values.grad is not None
        assert torch.equal(values.grad, tensor([[1 / 3, 1 / 3, 0], [1 / 3, 0, 0]]))


class TestSFT:
    """Equation 3: |a - pi(s)|^2."""

    mean = tensor([[[0.5, -0.25], [0.0, 1.0], [NAN, NAN]], [[-1.0, 0.75], [HUGE, NAN], [NAN, 0.0]]])
    actions = tensor([[[0.25, 0.25], [0.5, -0.5], [0.0, 0.0]], [[-0.75, 0.25], [0.0, 0.0], [0.0, 0.0]]])

    def test_by_hand(self) -> None:
        step_00 = ((0.25 - 0.5) ** 2 + (0.25 + 0.25) ** 2) / 2
        step_01 = ((0.5 - 0.0) ** 2 + (-0.5 - 1.0) ** 2) / 2
        step_10 = ((-0.75 + 1.0) ** 2 + (0.25 - 0.75) ** 2) / 2
        assert (step_00, step_01, step_10) == (0.15625, 1.25, 0.15625)
        close(sft_loss(self.mean, self.actions, MASK), (0.15625 + 1.25 + 0.15625) / 3)

    def test_gradient_by_hand(self) -> None:
        """d/dmean of the mean over 3 steps and 2 dimensions: 2 (mean - a) / 6."""
        mean = self.mean.nan_to_num(7.0, 7.0, 7.0).clamp(-9, 9).requires_grad_()
        sft_loss(mean, self.actions, MASK).backward()
        assert mean.grad is not None
        assert float(mean.grad[0, 1, 1]) == pytest.approx(2 * (1.0 - -0.5) / 6)
        assert float(mean.grad[1, 0, 0]) == pytest.approx(2 * (-1.0 - -0.75) / 6)
        assert torch.equal(mean.grad[~MASK], torch.zeros(3, 2, dtype=torch.float64))
