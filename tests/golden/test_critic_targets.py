"""What critics learn and what is made of them, against naive loops and numbers worked out by hand, in float64."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.golden.by_hand import MASK, NAN, F, T, close, tensor
from tests.helpers import random_window
from trajtune.algorithms.losses import (
    advantage_weights,
    conservative_gap,
    exact_kl,
    expectile_loss,
    n_step_target,
    weighted_sft_loss,
)
from trajtune.types import Window


def some_windows() -> tuple[Window, Tensor]:
    """Six windows of seven places: cut by the window, padded, ended, cut off in a known and in an unknown state."""
    steps, known, ended = [7, 4, 4, 4, 6, 1], [F, F, F, T, T, F], [F, F, T, F, F, T]
    w = random_window(7, 1, 1, rows=6)
    place = torch.arange(7)
    mask = place < torch.tensor(steps)[:, None]
    present = place < (torch.tensor(steps) + torch.tensor(known))[:, None]
    terminals = (place == torch.tensor(steps)[:, None] - 1) & torch.tensor(ended)[:, None]
    g = torch.Generator().manual_seed(5)
    values = torch.randn(6, 7, generator=g, dtype=torch.float64)
    rewards = w.rewards.double()
    return (
        replace(
            w,
            rewards=torch.where(mask, rewards, NAN),
            mask=mask,
            present=present,
            terminals=terminals,
        ),
        torch.where(present, values, NAN),
    )


def naive_target(w: Window, values: Tensor, gamma: float, n: int) -> list[list[float | None]]:
    """Sum rewards from each step on, until n are summed up, or nothing follows, or no more is known."""

    def known(b: int, t: int) -> bool:
        after = t + 1 < w.mask.shape[1] and bool(w.present[b, t + 1])
        return bool(w.mask[b, t]) and (bool(w.terminals[b, t]) or after)

    found: list[list[float | None]] = []
    for b in range(len(w.mask)):
        row: list[float | None] = []
        for t in range(w.mask.shape[1]):
            if not known(b, t):
                row.append(None)
                continue
            total, last = 0.0, t
            for k in range(n):
                last = t + k
                total += gamma**k * float(w.rewards[b, last])
                if w.terminals[b, last] or last + 1 == w.mask.shape[1] or not known(b, last + 1):
                    break
            if not w.terminals[b, last]:
                total += gamma ** (last - t + 1) * float(values[b, last + 1])
            row.append(total)
        found.append(row)
    return found


class TestTarget:
    """Equation 16, and n steps of it."""

    @pytest.mark.parametrize("n", [1, 2, 3, 7, 50])
    def test_is_what_a_loop_sums(self, n: int) -> None:
        w, values = some_windows()
        found, valid = n_step_target(w, values, 0.9, n)
        for b, row in enumerate(naive_target(w, values, 0.9, n)):
            for t, expected in enumerate(row):
                assert bool(valid[b, t]) == (expected is not None), (b, t)
                if expected is not None:
                    assert float(found[b, t]) == pytest.approx(expected, rel=1e-6, abs=1e-12), (b, t)

    def test_which_steps_have_one(self) -> None:
        """The last step of a window has none, but where it is terminal or a known state stands behind it."""
        w, values = some_windows()
        _, valid = n_step_target(w, values, 0.9, 1)
        assert valid.sum(1).tolist() == [6, 3, 4, 4, 6, 1]

    def test_one_step_by_hand(self) -> None:
        """Nothing follows the terminal, not even a number that is none: 0 * NaN would be NaN."""
        w = replace(
            random_window(3, 1, 1, rows=1),
            rewards=tensor([[1.0, -2.0, 0.0]]),
            terminals=torch.tensor([[F, T, F]]),
            mask=torch.tensor([[T, T, F]]),
            present=torch.tensor([[T, T, F]]),
        )
        found, valid = n_step_target(w, tensor([[7.0, 3.0, NAN]]), 0.9, 1)
        assert valid.tolist() == [[T, T, F]]
        assert found[0, :2].tolist() == pytest.approx([1.0 + 0.9 * 3.0, -2.0], rel=1e-6)

    def test_two_steps_by_hand(self) -> None:
        """1 + 0.5 * 2 + 0.25 * 8; 2 + 0.5 * 4 + 0.25 * V(s_3); the third holds one step only: 4 + 0.5 V(s_3)."""
        w = replace(random_window(4, 1, 1, rows=1), rewards=tensor([[1.0, 2.0, 4.0, 9.0]]))
        found, valid = n_step_target(w, tensor([[0.0, 6.0, 8.0, 16.0]]), 0.5, 2)
        assert valid.tolist() == [[T, T, T, F]]
        assert found[0, :3].tolist() == pytest.approx([1 + 1 + 2, 2 + 2 + 4, 4 + 8], rel=1e-6)

    def test_many_steps_of_one_that_ended_are_its_return(self) -> None:
        w = replace(
            random_window(4, 1, 1, rows=1),
            rewards=tensor([[1.0, 2.0, 4.0, 8.0]]),
            terminals=torch.tensor([[F, F, F, T]]),
        )
        found, _ = n_step_target(w, torch.full((1, 4), 1e6, dtype=torch.float64), 0.5, 9)
        assert found.tolist() == [[4.0, 6.0, 8.0, 8.0]]


class TestConservativeGap:
    """Equation 11, over a scale: two critics, one step, three random actions."""

    random = tensor([[[[1.0, 3.0, 5.0]]], [[[-2.0, 0.0, 2.0]]]])
    anchor = tensor([[[2.0]], [[4.0]]])

    def gap(self, kind: str, scale: float, floor: Tensor | None = None) -> list[float]:
        found: list[float] = conservative_gap(self.random, self.anchor, tensor(scale), kind, floor).flatten().tolist()
        return found

    def test_mean(self) -> None:
        assert self.gap("mean", 2.0) == pytest.approx([(3.0 - 2.0) / 2, (0.0 - 4.0) / 2], rel=1e-6)

    def test_logsumexp_less_log_n(self) -> None:
        first = math.log(sum(math.exp(x / 2) for x in (1, 3, 5)) / 3) - 1.0
        second = math.log(sum(math.exp(x / 2) for x in (-2, 0, 2)) / 3) - 2.0
        assert self.gap("logsumexp", 2.0) == pytest.approx([first, second], rel=1e-6)

    def test_of_one_action_both_are_the_same(self) -> None:
        one, unit = self.random[..., :1], tensor(2.0)
        both = [conservative_gap(one, self.anchor, unit, kind, None) for kind in ("mean", "logsumexp")]
        torch.testing.assert_close(both[0], both[1], rtol=1e-12, atol=1e-12)

    def test_calibrated_lowers_nothing_below_what_was_reached(self) -> None:
        """At 2.0: (2 + 3 + 5) / 3 and (2 + 2 + 2) / 3; what is below has no slope."""
        floor = tensor([[2.0]])
        assert self.gap("mean", 1.0, floor) == pytest.approx([10 / 3 - 2.0, 2.0 - 4.0], rel=1e-6)
        random = self.random.clone().requires_grad_()
        conservative_gap(random, self.anchor, tensor(1.0), "mean", floor).sum().backward()
        assert random.grad is not None
        assert random.grad[0].flatten().tolist() == pytest.approx([0.0, 1 / 3, 1 / 3])
        assert random.grad[1].flatten().tolist() == pytest.approx([0.0, 0.0, 1 / 6])  # the last is equal to it

    def test_each_term_pulls_its_own_way(self) -> None:
        random, anchor = self.random.clone().requires_grad_(), self.anchor.clone().requires_grad_()
        conservative_gap(random, anchor, tensor(2.0), "mean", None).sum().backward()
        assert random.grad is not None and anchor.grad is not None
        assert random.grad.flatten().tolist() == pytest.approx([1 / 6] * 6)
        assert anchor.grad.flatten().tolist() == pytest.approx([-0.5, -0.5])


def test_expectile_loss_by_hand() -> None:
    found = expectile_loss(tensor([2.0, -2.0, 0.0]), 0.7)
    assert found.tolist() == pytest.approx([0.7 * 4.0, 0.3 * 4.0, 0.0], rel=1e-6)


def test_the_expectile_is_where_its_loss_is_least() -> None:
    """Of 0 and 1, the 0.7-expectile v has 0.7 (1 - v) = 0.3 v: v = 0.7."""
    v = tensor(0.7).requires_grad_()
    expectile_loss(tensor([0.0, 1.0]) - v, 0.7).sum().backward()
    assert v.grad is not None
    assert float(v.grad) == pytest.approx(0.0, abs=1e-12)


class TestWeights:
    """exp(temperature * A / deviation of A), of mean 1."""

    advantages = tensor([[3.0, -1.0, NAN], [1.0, NAN, NAN]])  # mean 1, deviation sqrt(8/3)

    def test_by_hand(self) -> None:
        unit = math.sqrt(8 / 3)
        raw = [math.exp(0.5 * a / unit) for a in (2.0, -2.0, 0.0)]
        found = advantage_weights(self.advantages, 0.5, 100.0, MASK)
        assert found[MASK].tolist() == pytest.approx([3 * x / sum(raw) for x in raw], rel=1e-6)
        close(found[MASK].mean(), 1.0)

    def test_the_largest_before_they_are_scaled(self) -> None:
        """exp(2 * 2 / deviation) = 11.6 becomes 4."""
        raw = [4.0, math.exp(-4.0 / math.sqrt(8 / 3)), 1.0]
        found = advantage_weights(self.advantages, 2.0, 4.0, MASK)
        assert found[MASK].tolist() == pytest.approx([3 * x / sum(raw) for x in raw], rel=1e-6)

    def test_free_of_the_scale_and_origin_of_rewards(self) -> None:
        moved = advantage_weights(1e3 * self.advantages - 40.0, 0.5, 100.0, MASK)
        torch.testing.assert_close(moved[MASK], advantage_weights(self.advantages, 0.5, 100.0, MASK)[MASK])

    def test_equal_advantages_weigh_the_same(self) -> None:
        found = advantage_weights(torch.full((2, 3), -7.25, dtype=torch.float64), 3.0, 100.0, MASK)
        assert found[MASK].tolist() == pytest.approx([1.0] * 3, rel=1e-6)

    def test_weighted_loss_by_hand(self) -> None:
        """Errors (0.5, 0.1), (0, 0.2), (0.3, 0.4): mean squares 0.13, 0.02, 0.125, times 2, 0.5 and 0.5."""
        mean = torch.zeros(2, 3, 2, dtype=torch.float64)
        actions = tensor([[[0.5, 0.1], [0.0, 0.2], [NAN, 9.0]], [[0.3, 0.4], [NAN, NAN], [9.0, 9.0]]])
        weights = tensor([[2.0, 0.5, NAN], [0.5, NAN, NAN]])
        close(weighted_sft_loss(mean, actions, weights, MASK), (0.26 + 0.01 + 0.0625) / 3)


def test_exact_divergence_is_that_of_torch() -> None:
    g = torch.Generator().manual_seed(0)
    mean, reference = torch.randn(2, 4, 3, 5, generator=g, dtype=torch.float64)
    by_torch = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, 0.2), torch.distributions.Normal(reference, 0.2)
    ).sum(-1)
    torch.testing.assert_close(exact_kl(mean, reference, 0.2), by_torch, rtol=1e-9, atol=1e-12)
    close(exact_kl(tensor([0.3, 0.4]), tensor([0.0, 0.0]), 0.5), 0.25 / 0.5)
