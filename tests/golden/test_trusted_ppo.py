"""PPO beside imitation, each as far as the critic is trusted, against the gradient worked out by hand."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.helpers import quick, random_batch, small_policy, some_trajectories
from trajtune.algorithms import owned
from trajtune.algorithms.base import make_algorithm

IN_DATA, IN_CRITIC = 0.75, 0.5
TRUST = 0.375  # their product


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owned, "trust_in_data", lambda policy, data, seed: (IN_DATA, ""))
    monkeypatch.setattr(owned, "trust_in_critic", lambda error: IN_CRITIC)


def made(**options: Any) -> tuple[Any, Any]:
    policy, algo = small_policy(), make_algorithm("ppo", {**quick("ppo", 0), **options})
    algo.setup(policy, some_trajectories((9, 8), (False, True)), 0)
    return policy, algo


def slope_at(policy: Any, algo: Any, batch: Any) -> Tensor:
    """The gradient towards the means, where the policy is still the one that was snapshotted."""
    mean = policy(batch).detach().requires_grad_()
    loss, _ = algo.loss(policy, batch, mean)
    return torch.autograd.grad(loss, mean)[0]


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(("options", "share"), [({}, TRUST), ({"trust": False}, 1.0)], ids=["trust", "as-printed"])
@pytest.mark.parametrize("imitation", [0.0, 0.5])
def test_imitation_is_an_advantage_that_every_action_has(
    options: dict[str, Any], share: float, imitation: float
) -> None:
    """At a ratio of 1, (9)'s gradient is -A (a - mu) / sigma^2; that of -log pi(a) is the same with 1 for A."""
    policy, algo = made(imitation=imitation, **options)
    batch = random_batch(rows=3)
    window = replace(batch.window, index=torch.arange(batch.window.mask.numel()).view_as(batch.window.mask) % 17)
    batch = replace(batch, window=window)
    advantages = torch.linspace(-1.0, 1.0, 18)
    algo.estimates.take({"advantages": advantages, "targets": torch.zeros(18)})
    weight = share * advantages[window.index] + 1.0 - share + share * imitation
    away = (window.actions - policy(batch)).detach() / policy.std**2
    by_hand = -(weight.unsqueeze(-1) * away * window.mask.unsqueeze(-1)) / window.mask.sum()
    torch.testing.assert_close(slope_at(policy, algo, batch), by_hand, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("trusted")
def test_the_rate_lies_between_its_own_and_that_of_imitation() -> None:
    assert made(rate=0.2)[1].rate() == pytest.approx(1.0 - TRUST + TRUST * 0.2)
    assert made(rate=0.2, trust=False)[1].rate() == 0.2


def test_where_nothing_is_trusted_the_rate_is_that_of_imitation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owned, "trust_in_data", lambda policy, data, seed: (0.0, "why"))
    algo = made()[1]
    assert algo.rate() == 1.0 and algo.networks() == {} and algo.facts() == {"trust": 0.0}
