"""The Q term of equations 13 and 14 under its three scales, on critics whose slope is known."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.helpers import SMALL, quick, random_batch, small_policy, some_trajectories, tuned
from trajtune.agents.saving import SavedAgent
from trajtune.algorithms import owned
from trajtune.algorithms.base import make_algorithm
from trajtune.algorithms.qp import QGuided
from trajtune.data.fewshot import FewShot
from trajtune.training.config import TrainConfig

A = SMALL.action_dim
ALPHA = 0.25  # a float32 holds it exactly


class Known(nn.Module):
    """What a critic is asked, by autograd."""

    def with_slope(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        actions = actions.detach().requires_grad_()
        values = self(states, actions)[0]
        return values.detach(), torch.autograd.grad(values.sum(), actions)[0]


class Toy(Known):
    """Two critics: ``slope`` . a + ``level``, and twice that."""

    def __init__(self, slope: Tensor, level: float = 0.0) -> None:
        super().__init__()
        self.slope, self.level = slope, level

    def forward(self, states: Tensor, actions: Tensor, which: slice = slice(None)) -> Tensor:
        one = actions @ self.slope + self.level
        return torch.stack([one, 2.0 * one])[which]


class Hill(Known):
    """-|a - top|^2 / 2 for all critics."""

    def __init__(self, top: Tensor) -> None:
        super().__init__()
        self.top = top

    def forward(self, states: Tensor, actions: Tensor, which: slice = slice(None)) -> Tensor:
        one = -0.5 * (actions - self.top).square().sum(-1)
        return torch.stack([one, one])[which]


def guided(critic: nn.Module, **options: Any) -> tuple[Any, Any, Any]:
    policy, data = small_policy(), some_trajectories((9, 8), (False, True))
    algo = make_algorithm("qp-sft", {"alpha": ALPHA, "trust": False, **quick("qp-sft", 0), **options})
    assert isinstance(algo, QGuided)
    algo.setup(policy, data, 0)
    algo.owned.critic = critic  # type: ignore[assignment]
    batch = random_batch(rows=3)
    window = replace(batch.window, actions=0.3 * batch.window.actions.double())
    mask = window.mask.clone()
    mask[0, 2:] = False
    return policy, algo, replace(batch, window=replace(window, mask=mask))


def slope_at(policy: Any, algo: Any, batch: Any, mean: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    mean = mean.clone().requires_grad_()
    loss, metrics = algo.loss(policy, batch, mean)
    (found,) = torch.autograd.grad(loss, mean)
    return found, metrics


@pytest.mark.parametrize("scale", ["none", "magnitude", "gradient"])
def test_value_by_hand(scale: str) -> None:
    slope = torch.tensor([3.0, -1.0], dtype=torch.float64)
    policy, algo, batch = guided(Toy(slope, 5.0), scale=scale)
    w, valid = batch.window, batch.window.mask
    mean = w.actions + 0.1
    loss, metrics = algo.loss(policy, batch, mean)
    q = (mean @ slope + 5.0)[valid]
    unit = {"none": 1.0, "magnitude": float((2.0 * q).abs().mean()), "gradient": (3.0 + 1.0) / 2}[scale]
    assert float(metrics["q_policy"]) == pytest.approx(float(q.mean()), rel=1e-6)
    assert float(metrics["q_term"]) == pytest.approx(float(q.mean()) / unit, rel=1e-6)
    assert float(loss) == pytest.approx(0.01 - ALPHA * float(q.mean()) / unit, rel=1e-6)


@pytest.mark.parametrize("scale", ["none", "magnitude", "gradient"])
def test_what_is_free_of_the_scale_of_rewards(scale: str) -> None:
    slopes = []
    for factor in (1.0, 1000.0):
        slope = factor * torch.tensor([3.0, -1.0], dtype=torch.float64)
        policy, algo, batch = guided(Toy(slope, 5.0 * factor), scale=scale)
        slopes.append(slope_at(policy, algo, batch, batch.window.actions)[0])
    free = torch.allclose(slopes[0], slopes[1], rtol=1e-9)
    assert free == (scale != "none")


@pytest.mark.parametrize("scale", ["none", "magnitude", "gradient"])
def test_what_is_free_of_a_shift_of_rewards(scale: str) -> None:
    """|Q| is not: so far as it is level, it makes alpha small."""
    slopes = []
    for level in (5.0, 100.0):
        policy, algo, batch = guided(Toy(torch.tensor([3.0, -1.0], dtype=torch.float64), level), scale=scale)
        slopes.append(slope_at(policy, algo, batch, batch.window.actions)[0])
    assert torch.allclose(slopes[0], slopes[1], rtol=1e-9) == (scale != "magnitude")


def test_over_its_gradient_the_action_moves_by_half_the_dimensions_times_alpha() -> None:
    """At the least loss the mean lies (A / 2) alpha from the data's action, along every dimension of equal slope."""
    policy, algo, batch = guided(Toy(torch.tensor([700.0, -700.0], dtype=torch.float64)), scale="gradient")
    moved = batch.window.actions + A / 2 * ALPHA * torch.tensor([1.0, -1.0], dtype=torch.float64)
    found, _ = slope_at(policy, algo, batch, moved)
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-9)


def test_on_a_hill_the_mean_step_is_about_half_the_dimensions_times_alpha() -> None:
    """The data's actions lie far from the top; descending to the least loss, actions move up by (A / 2) alpha."""
    top = torch.tensor([8.0, -6.0], dtype=torch.float64)
    policy, algo, batch = guided(Hill(top), scale="gradient")
    mean, valid = batch.window.actions.clone(), batch.window.mask
    for _ in range(400):
        found, _ = slope_at(policy, algo, batch, mean)
        mean = mean - 0.3 * A * int(valid.sum()) * found
    step = (mean - batch.window.actions)[valid].abs().mean()
    assert float(step) == pytest.approx(A / 2 * ALPHA, rel=0.02)


def test_as_printed_the_step_is_the_slope() -> None:
    """2 (a - a0) / A = alpha dQ/da."""
    slope = torch.tensor([0.5, -0.2], dtype=torch.float64)
    policy, algo, batch = guided(Toy(slope), scale="none")
    found, _ = slope_at(policy, algo, batch, batch.window.actions + A / 2 * ALPHA * slope)
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", ["magnitude", "gradient"])
def test_a_critic_that_says_zero_is_not_divided_by(scale: str) -> None:
    policy, algo, batch = guided(Toy(torch.zeros(A, dtype=torch.float64)), scale=scale)
    found, metrics = slope_at(policy, algo, batch, batch.window.actions)
    assert float(metrics["q_term"]) == 0.0
    assert torch.equal(found, torch.zeros_like(found))


def test_trust_multiplies_alpha(monkeypatch: pytest.MonkeyPatch) -> None:
    """That in the data and that in the critic."""
    monkeypatch.setattr(owned, "trust_in_data", lambda policy, data, seed: (0.75, ""))
    monkeypatch.setattr(owned, "trust_in_critic", lambda error: 0.5)
    policy, data = small_policy(), some_trajectories((30, 30), (False, False))
    found = []
    for trust in (False, True):
        algo = make_algorithm("qp-sft", {"alpha": ALPHA, "trust": trust, **quick("qp-sft", 0)})
        algo.setup(policy, data, 0)
        found.append((float(algo.networks()["trust"]["alpha"]), algo.facts()))  # type: ignore[index]
    (plain, facts), (weighed, more) = found
    assert plain == ALPHA and "trust" not in facts
    assert more["trust"] == 0.375 and weighed == 0.375 * ALPHA


def test_where_nothing_is_trusted_it_is_the_base_algorithm_to_the_bit(
    point_agent: SavedAgent, point_few: FewShot
) -> None:
    """One trajectory cannot be compared with another. It also costs what the base costs: there is no critic."""
    config = TrainConfig(steps=3, batch=4, learning_rate=1e-3, precision="fp32", log_every=1)
    one = replace(point_few, trajectories=point_few.trajectories.subset(np.array([0])))
    for name, base in (("qp-sft", "sft"), ("qp-dpo", "dpo"), ("iql", "sft"), ("awr", "sft"), ("ppo", "sft")):
        guided, plain = (tuned(point_agent, one, each, "full", config) for each in (name, base))
        assert all(torch.equal(t, plain.policy.delta()[n]) for n, t in guided.policy.delta().items())
        assert guided.facts == {"trust": 0.0} and "no critic can know" in guided.notes[0]
        insisted = tuned(point_agent, one, name, "full", config, options={"trust": False, **quick(name)})
        assert not all(torch.equal(t, plain.policy.delta()[n]) for n, t in insisted.policy.delta().items())
        assert insisted.notes == () and "critic_error" not in guided.facts


def test_without_a_weight_no_critic_is_warmed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trajtune.algorithms.qp.trusted_critic", None)  # asking for one would fail
    algo = make_algorithm("qp-sft", {"alpha": 0.0, "trust": False})
    algo.setup(small_policy(), some_trajectories((30, 30), (False, False)), 0)
    assert algo.networks() == {} and algo.facts() == {} and algo.notes() == []
