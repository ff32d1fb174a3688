"""The losses of DPO, GRPO and PPO against values worked out by hand from their equations, in float64."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from tests.golden.by_hand import HUGE, MASK, NAN, T, close, tensor
from trajtune.algorithms.losses import (
    dpo_loss,
    grpo_loss,
    kl_estimate,
    log_prob,
    ppo_loss,
    surrogate,
    weighted_sft_loss,
)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


class TestLogProb:
    def test_is_summed_over_action_dimensions(self) -> None:
        dist = Normal(tensor([[[0.5, -0.25], [0.0, 1.0]]]), 0.2)
        found = log_prob(dist, tensor([[[0.25, 0.25], [0.5, -0.5]]]), torch.tensor([[T, T]]))
        constant = -2 * math.log(0.2 * math.sqrt(2 * math.pi))
        step_0 = -((0.25 - 0.5) ** 2 + (0.25 + 0.25) ** 2) / (2 * 0.04) + constant
        step_1 = -((0.5 - 0.0) ** 2 + (-0.5 - 1.0) ** 2) / (2 * 0.04) + constant
        assert found.shape == (1, 2)
        assert found.flatten().tolist() == pytest.approx([step_0, step_1], rel=1e-6)

    def test_padding_is_zero_whatever_it_holds(self) -> None:
        actions = tensor([[[0.1], [HUGE], [NAN]], [[0.2], [NAN], [-HUGE]]])
        found = log_prob(Normal(torch.zeros_like(actions), 0.2, validate_args=False), actions, MASK)
        assert torch.equal(found[~MASK], torch.zeros(3, dtype=torch.float64)) and found[MASK].all()


class TestDPO:
    """Equation 4: -log sigma(beta log pi(a)/ref(a) - beta log pi(a~)/ref(a~))."""

    chosen = tensor([[1.5, -0.5, NAN], [0.25, HUGE, NAN]])
    rejected = tensor([[-0.5, 2.5, HUGE], [0.25, NAN, NAN]])

    def test_by_hand(self) -> None:
        steps = [-math.log(sigmoid(0.4 * (1.5 + 0.5))), -math.log(sigmoid(0.4 * (-0.5 - 2.5))), math.log(2)]
        assert steps == pytest.approx([0.3711007, 1.4632825, 0.6931472])
        close(dpo_loss(self.chosen, self.rejected, 0.4, MASK), sum(steps) / 3)

    def test_is_log_2_where_the_policy_is_its_reference(self) -> None:
        zeros = torch.zeros(2, 3, dtype=torch.float64)
        close(dpo_loss(zeros, zeros, 0.7, MASK), math.log(2))

    def test_gradient_by_hand(self) -> None:
        """-beta sigma(-beta (c - r)) for the preferred one, the opposite for the other."""
        chosen, rejected = tensor([[1.5]]).requires_grad_(), tensor([[-0.5]]).requires_grad_()
        dpo_loss(chosen, rejected, 0.4, torch.tensor([[T]])).backward()
        assert chosen.grad is not None and rejected.grad is not None
        assert float(chosen.grad) == pytest.approx(-0.4 * sigmoid(-0.8), rel=1e-6)
        assert float(rejected.grad) == pytest.approx(0.4 * sigmoid(-0.8), rel=1e-6)

    def test_does_not_overflow(self) -> None:
        close(dpo_loss(tensor([[-1e4]]), tensor([[1e4]]), 0.1, torch.tensor([[T]])), 2e3)

    def test_symmetric_perturbations_say_nothing_about_where_an_action_is(self) -> None:
        """With one deviation for policy and reference, the log-ratios differ by (mu - mu_ref)(a - a~)/std^2.

        The preferred action itself cancels, so pairs (a, a + n) and (a, a - n) together pull the mean back to the
        reference, wherever a is. docs/algorithms/dpo.md draws the conclusion.
        """
        reference, noise = tensor([[[0.1, -0.3]]]), tensor([[[0.2, -0.4]]])
        mask = torch.tensor([[T]])

        def gradient(start: Tensor, action: Tensor) -> Tensor:
            mean = start.clone().requires_grad_()
            for rejected in (action + noise, action - noise):
                ratios = [
                    log_prob(Normal(mean, 0.2), a, mask) - log_prob(Normal(reference, 0.2), a, mask)
                    for a in (action, rejected)
                ]
                dpo_loss(*ratios, 0.1, mask).backward()
            assert mean.grad is not None
            return mean.grad.flatten()

        near, far = tensor([[[0.1, -0.2]]]), tensor([[[0.9, 0.8]]])
        torch.testing.assert_close(gradient(reference, far), torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-12)
        moved = reference + noise
        torch.testing.assert_close(gradient(moved, near), gradient(moved, far), rtol=1e-9, atol=1e-12)
        assert float(gradient(moved, far) @ noise.flatten()) > 0  # descending it, the mean returns

    def test_samples_of_the_reference_pull_towards_the_data_at_first_and_never_stop_there(self) -> None:
        """mu_ref + n and mu_ref - n together: -beta (a - mu_ref) / std^2 at the start, and not much less at the action.

        At mu = a imitation would rest. Here x = beta |a - mu_ref|^2 / std^2 -+ c is what sigma is asked about, and its
        slope is never zero: the mean goes on past the action until sigma gives in.
        """
        reference, action, noise = tensor([[[0.1, -0.3]]]), tensor([[[0.5, 0.1]]]), tensor([[[0.2, -0.4]]])
        beta, mask = 0.1, torch.tensor([[T]])

        def gradient(start: Tensor) -> Tensor:
            mean = start.clone().requires_grad_()
            for rejected in (reference + noise, reference - noise):
                ratios = [
                    log_prob(Normal(mean, 0.2), a, mask) - log_prob(Normal(reference, 0.2), a, mask)
                    for a in (action, rejected)
                ]
                dpo_loss(*ratios, beta, mask).backward()
            assert mean.grad is not None
            return mean.grad.flatten()

        towards = (action - reference).flatten()
        torch.testing.assert_close(gradient(reference), -beta * towards / 0.2**2, rtol=1e-9, atol=1e-12)
        assert float(gradient(action) @ towards) < -0.5 * beta * float(towards @ towards) / 0.2**2

    def test_a_worse_neighbour_s_action_pushes_away_from_it(self) -> None:
        """At the start the gradient is -beta (a - a~) / (2 std^2), wherever the reference is: from worse to better."""
        reference, action, worse = tensor([[[0.9, 0.9]]]), tensor([[[0.5, 0.1]]]), tensor([[[0.3, 0.4]]])
        mask = torch.tensor([[T]])
        mean = reference.clone().requires_grad_()
        ratios = [
            log_prob(Normal(mean, 0.2), a, mask) - log_prob(Normal(reference, 0.2), a, mask) for a in (action, worse)
        ]
        dpo_loss(*ratios, 0.1, mask).backward()
        torch.testing.assert_close(mean.grad, -0.1 * (action - worse) / (2 * 0.2**2), rtol=1e-9, atol=1e-12)


class TestSurrogate:
    """min(r A, clip(r, 1 - eps, 1 + eps) A), equations 6 and 9."""

    @pytest.mark.parametrize(
        ("ratio", "advantage", "expected"),
        [
            (1.1, 2.0, 2.2),  # inside
            (1.5, 2.0, 2.4),  # better, and already likelier by more than 1 + eps: bounded
            (0.5, 2.0, 1.0),  # better, but less likely: not bounded
            (0.9, -2.0, -1.8),
            (0.5, -2.0, -1.6),  # worse, and already less likely: bounded
            (1.5, -2.0, -3.0),  # worse, but likelier: not bounded
            (7.0, 0.0, 0.0),
        ],
    )
    def test_by_hand(self, ratio: float, advantage: float, expected: float) -> None:
        found = surrogate(tensor([[ratio]]).log(), tensor([[advantage]]), 0.2)
        assert float(found) == pytest.approx(expected, rel=1e-6)

    def test_is_the_printed_minimum(self) -> None:
        g = torch.Generator().manual_seed(0)
        ratio, a = (torch.randn(2, 500, generator=g, dtype=torch.float64) * 0.5).unbind()
        ratio = ratio.exp().requires_grad_()
        printed = torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a)
        (by_printed,) = torch.autograd.grad(printed.sum(), ratio)
        found = surrogate(ratio.log(), a, 0.2)
        (by_found,) = torch.autograd.grad(found.sum(), ratio)
        torch.testing.assert_close(found, printed)
        torch.testing.assert_close(by_found, by_printed)

    def test_no_slope_beyond_the_bound_and_no_overflow(self) -> None:
        log_ratio = tensor([1e4, -1e4, 0.5, -0.5]).requires_grad_()
        surrogate(log_ratio, tensor([2.0, -2.0, 2.0, -2.0]), 0.2).sum().backward()
        assert log_ratio.grad is not None
        assert log_ratio.grad.tolist() == [0.0] * 4

    def test_slope_at_one_is_the_policy_gradient(self) -> None:
        log_ratio = torch.zeros(2, dtype=torch.float64).requires_grad_()
        surrogate(log_ratio, tensor([3.0, -0.5]), 0.2).sum().backward()
        assert log_ratio.grad is not None
        assert log_ratio.grad.tolist() == [3.0, -0.5]


RATIOS = tensor([[1.1, 0.5, 1.0], [1.5, 1.0, 1.0]]).log()
ADVANTAGES = tensor([[2.0, -2.0, NAN], [2.0, HUGE, NAN]])
GAINS = (2.2, -1.6, 2.4)


def test_ppo_by_hand() -> None:
    """Equation 9."""
    close(ppo_loss(RATIOS, ADVANTAGES, 0.2, MASK), -sum(GAINS) / 3)


class TestGRPO:
    """Equations 5 to 7, with (6) read as min(r A, clip(r) A)."""

    def test_divergence_by_hand(self) -> None:
        """x - log x - 1 with x = pi_ref/pi: 1/2 - log 1/2 - 1, 1, 2 - log 2 - 1."""
        found = kl_estimate(tensor([2.0, 1.0, 0.5]).log())
        assert found.tolist() == pytest.approx([0.1931472, 0.0, 0.3068528], rel=1e-6, abs=1e-12)

    def test_divergence_is_never_negative(self) -> None:
        assert (kl_estimate(torch.linspace(-3, 3, 99, dtype=torch.float64)) >= 0).all()

    def test_by_hand(self) -> None:
        reference = tensor([[2.0, 1.0, 1.0], [0.5, 1.0, 1.0]]).log()
        divergence = (0.5 + math.log(2) - 1) + 0.0 + (2 - math.log(2) - 1)
        expected = -sum(GAINS) / 3 + 0.3 * divergence / 3
        close(grpo_loss(RATIOS, kl_estimate(reference), ADVANTAGES, 0.2, 0.3, MASK), expected)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: dpo_loss(x, 2 * x, 0.3, MASK),
        lambda x: ppo_loss(x, x.detach(), 0.2, MASK),
        lambda x: grpo_loss(x, -x, x.detach(), 0.2, 0.1, MASK),
        lambda x: weighted_sft_loss(x[..., None], 2 * x.detach()[..., None], 1 + x.detach().abs(), MASK),
    ],
    ids=["dpo", "ppo", "grpo", "weighted"],
)
def test_gradients_of_padding_are_zero(loss: Callable[[Tensor], Tensor]) -> None:
    x = tensor([[0.3, -0.2, 5.0], [0.1, -40.0, 30.0]]).requires_grad_()
    value = loss(x)
    value.backward()
    assert x.grad is not None
    assert torch.equal(x.grad[~MASK], torch.zeros(3, dtype=torch.float64))
    assert x.grad[MASK].any()
    close(loss(torch.where(MASK, x.detach(), NAN)), value.item())
