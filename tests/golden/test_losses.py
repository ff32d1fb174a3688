"""Every loss against a value worked out by hand from its equation, in float64."""

import math

import pytest
import torch

from trajtune.algorithms.losses import masked_mean, q_term, sft_loss, td_loss, td_target

NAN, HUGE = float("nan"), 1e30
T, F = True, False


def tensor(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(value: torch.Tensor, expected: float) -> None:
    assert value.dtype == torch.float64
    assert value.shape == ()
    assert float(value) == pytest.approx(expected, rel=1e-6)


MASK = torch.tensor([[T, T, F], [T, F, F]])


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


class TestTD:
    """Equations 15 and 16, two critics, terminals, padding."""

    rewards = tensor([[1.0, -2.0, 0.0], [0.5, 0.0, 0.0]])
    terminals = torch.tensor([[F, T, F], [F, F, F]])
    next_values = tensor([[[3.0, 9.0, NAN], [-4.0, NAN, HUGE]], [[5.0, 8.0, NAN], [-6.0, NAN, HUGE]]])

    def test_target_by_hand(self) -> None:
        target = td_target(self.rewards, self.terminals, self.next_values, gamma=0.9)
        assert target.shape == (2, 3)
        assert float(target[0, 0]) == pytest.approx(1.0 + 0.9 * 3.0, rel=1e-6)  # the smaller of 3 and 5
        assert float(target[0, 1]) == -2.0  # nothing follows a terminal
        assert float(target[1, 0]) == pytest.approx(0.5 + 0.9 * -6.0, rel=1e-6)  # the smaller of -4 and -6

    def test_nothing_after_a_terminal_reaches_its_target(self) -> None:
        """Not even a number that is none: 0 * NaN would."""
        values = self.next_values.clone()
        values[:, 0, 1] = NAN
        assert float(td_target(self.rewards, self.terminals, values, gamma=0.9)[0, 1]) == -2.0

    def test_loss_by_hand(self) -> None:
        values = tensor([[[2.0, -1.0, NAN], [0.0, NAN, HUGE]], [[4.0, -2.5, NAN], [-5.0, NAN, NAN]]])
        target = td_target(self.rewards, self.terminals, self.next_values, gamma=0.9)
        step_00 = (2.0 - 3.7) ** 2 + (4.0 - 3.7) ** 2
        step_01 = (-1.0 - -2.0) ** 2 + (-2.5 - -2.0) ** 2
        step_10 = (0.0 - -4.9) ** 2 + (-5.0 - -4.9) ** 2
        assert step_00 == pytest.approx(2.98)
        assert step_01 == pytest.approx(1.25)
        assert step_10 == pytest.approx(24.02)
        close(td_loss(values, target, MASK), (2.98 + 1.25 + 24.02) / 3)

    def test_each_critic_is_pulled_to_the_one_target(self) -> None:
        values = tensor([[[2.0]], [[4.0]]]).requires_grad_()
        td_loss(values, tensor([[3.7]]), torch.tensor([[T]])).backward()
        assert values.grad is not None
        assert values.grad.flatten().tolist() == pytest.approx([2 * (2.0 - 3.7), 2 * (4.0 - 3.7)])


class TestQTerm:
    """Equations 13 and 14: what alpha weighs."""

    values = tensor([[3.0, -1.0, NAN], [4.0, HUGE, NAN]])
    other = tensor([[-2.0, 6.0, HUGE], [1.0, NAN, NAN]])

    def test_plain(self) -> None:
        close(q_term(self.values, None, MASK), (3 - 1 + 4) / 3)

    def test_over_the_magnitude_of_the_other_critic(self) -> None:
        close(q_term(self.values, self.other, MASK), ((3 - 1 + 4) / 3) / ((2 + 6 + 1) / 3))

    def test_free_of_the_scale_of_rewards(self) -> None:
        close(q_term(1000 * self.values, 1000 * self.other, MASK), 2 / 3)

    def test_scale_is_a_constant(self) -> None:
        """The other critic is not to be shrunk for the sake of the term."""
        values, other = tensor([[3.0, 5.0]]).requires_grad_(), tensor([[2.0, -8.0]]).requires_grad_()
        q_term(values, other, torch.tensor([[T, T]])).backward()
        assert other.grad is None
        assert values.grad is not None
        assert values.grad.tolist() == [[pytest.approx(1 / 2 / 5), pytest.approx(1 / 2 / 5)]]

    def test_critics_that_say_zero_do_not_divide_by_it(self) -> None:
        zeros = tensor([[0.0, 0.0]])
        assert float(q_term(zeros, zeros, torch.tensor([[T, T]]))) == 0.0
