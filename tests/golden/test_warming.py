"""The warm-up of critics: what it shares, what it learns, and how that is measured."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from tests.helpers import small_policy, some_trajectories
from trajtune.agents.saving import SavedAgent
from trajtune.algorithms import warming
from trajtune.algorithms.configs import CriticConfig
from trajtune.algorithms.critics import initialise_critic
from trajtune.algorithms.transitions import transitions_of
from trajtune.algorithms.warming import Over, rank_correlation, warm_critic
from trajtune.data.fewshot import few_shot
from trajtune.data.setting import Setting
from trajtune.data.store import Dataset
from trajtune.data.trajectories import Trajectories
from trajtune.policy import Policy
from trajtune.tunings.making import make_policy

SHORT = CriticConfig(monte_carlo=3, bootstrapped=3)
BOTH = pytest.mark.parametrize("over", ["q", "v"])


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    warming._KEPT.clear()


@pytest.fixture
def policy() -> Policy:
    return small_policy()


@pytest.fixture
def data() -> Trajectories:
    return some_trajectories((9, 7, 8, 6, 9, 5), (False, True, False, False, True, False))


def state(policy: Policy, data: Trajectories, over: Over, seed: int = 0, **options: Any) -> dict[str, Tensor]:
    critic, _ = warm_critic(policy, data, seed, replace(SHORT, **options), over)
    return dict(critic.state_dict())


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@BOTH
def test_what_is_kept_has_the_bits_of_what_is_computed(policy: Policy, data: Trajectories, over: Over) -> None:
    first = state(policy, data, over)
    kept = state(policy, data, over)
    assert len(warming._KEPT) == 1
    warming._KEPT.clear()
    assert same(first, kept) and same(first, state(policy, data, over))


def test_what_is_kept_is_not_what_learns_on(policy: Policy, data: Trajectories) -> None:
    critic, worth = warm_critic(policy, data, 0, SHORT, "q")
    before = {name: tensor.clone() for name, tensor in critic.state_dict().items()}
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.add_(1.0)
    worth.clear()
    again, told = warm_critic(policy, data, 0, SHORT, "q")
    assert same(before, dict(again.state_dict())) and told


def test_other_processes_share_it_through_files(policy: Policy, data: Trajectories, tmp_path: Path) -> None:
    """The bits of computing it; what is damaged, cut off or another's is computed anew, and put right."""
    whole, worth = warm_critic(policy, data, 0, SHORT, "q")
    with warming.shared_in(tmp_path / "critics"):
        warming._KEPT.clear()
        warm_critic(policy, data, 0, SHORT, "q")
        [path] = (tmp_path / "critics").iterdir()
        good = path.read_bytes()
        for damage in (good, good[:-40], b"nothing", good[:-1] + bytes([good[-1] ^ 1])):
            path.write_bytes(damage)
            warming._KEPT.clear()
            again, told = warm_critic(policy, data, 0, SHORT, "q")
            assert same(dict(whole.state_dict()), dict(again.state_dict())) and told == worth
            assert path.read_bytes() == good
    warming._KEPT.clear()
    path.unlink()
    warm_critic(policy, data, 0, SHORT, "q")
    assert not path.exists()


def test_no_more_are_kept_than_fit(policy: Policy, data: Trajectories) -> None:
    for seed in range(warming.KEEP + 3):
        state(policy, data, "q", seed, monte_carlo=0, bootstrapped=0)
    assert len(warming._KEPT) == warming.KEEP


@BOTH
def test_without_updates_only_the_units_are_the_datas(policy: Policy, data: Trajectories, over: Over) -> None:
    found = state(policy, data, over, seed=4, monte_carlo=0, bootstrapped=0)
    fresh = dict(initialise_critic(3 + 2 * (over == "q"), 2, 4, over).state_dict())
    table = transitions_of(policy, data, SHORT.gamma)
    returns, weights = table.returns.double().numpy(), table.weights.double().numpy()
    mean = np.average(returns, weights=weights)
    deviation = np.average((returns - mean) ** 2, weights=weights) ** 0.5
    assert float(found.pop("centre")) == pytest.approx(mean, rel=1e-5)
    assert float(found.pop("scale")) == pytest.approx(deviation, rel=1e-5)
    assert same(found, {name: fresh[name] for name in found})


OTHER: dict[str, Any] = {
    "gamma": 0.9,
    "members": 3,
    "monte_carlo": 4,
    "bootstrapped": 4,
    "warm_batch": 64,
    "warm_learning_rate": 3e-3,
    "warm_tau": 0.5,
    "grad_clip": 0.1,
    "time": True,
}
LATER: dict[str, Any] = {"learning_rate": 1e-2, "tau": 0.5, "n_step": 3, "flat_updates": 2}


def test_every_option_is_told_apart() -> None:
    assert {f.name for f in fields(CriticConfig)} == {*OTHER, *LATER}


@pytest.mark.parametrize("option", OTHER)
def test_what_decides_the_warm_up_is_warmed_up_anew(
    policy: Policy, data: Trajectories, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warming, "CHECKS", 1)  # the last state is the best
    default = state(policy, data, "q")
    assert not same(default, state(policy, data, "q", **{option: OTHER[option]}))
    assert len(warming._KEPT) == 2


@pytest.mark.parametrize("option", LATER)
def test_what_only_counts_afterwards_is_not(policy: Policy, data: Trajectories, option: str) -> None:
    assert same(state(policy, data, "q"), state(policy, data, "q", **{option: LATER[option]}))
    assert len(warming._KEPT) == 1


def test_other_data_other_seed_other_kind_are_warmed_up_anew(policy: Policy, data: Trajectories) -> None:
    assert data.final_observations is not None
    others = [
        data,
        replace(data, rewards=data.rewards + 1.0),
        replace(data, actions=-data.actions),
        replace(data, observations=data.observations + 1.0),
        replace(data, terminated=~data.terminated),
        replace(data, final_observations=data.final_observations + 1.0),
        replace(data, final_observations=None),
    ]
    for each in others:
        state(policy, each, "v")
    assert len(warming._KEPT) == len(others) - 1  # values of states do not ask for actions
    state(policy, data, "q")
    state(policy, data, "v", seed=1)
    assert len(warming._KEPT) == len(others) + 1


def test_a_member_never_learns_from_the_trajectories_it_leaves_out(policy: Policy, data: Trajectories) -> None:
    """Six trajectories, five folds: member 0 leaves out 0 and 5. Other rewards there change member 1, not member 0."""
    rewards = data.rewards.copy()
    rewards[: data.length[0]] *= 3.0
    table, other = (
        transitions_of(policy, each, SHORT.gamma)._replace(returns=torch.zeros(data.steps))
        for each in (data, replace(data, rewards=rewards))
    )  # returns decide the units, which all members share
    found = []
    for each in (table, other):
        critic = initialise_critic(5, 2, 0, "q")
        warming._warm_up(critic, each, 0, replace(SHORT, monte_carlo=0, bootstrapped=5, grad_clip=1e9), "q")
        found.append(critic)
    changed = [
        [not torch.equal(a[m], b[m]) for a, b in zip(found[0].weights, found[1].weights, strict=True)] for m in (0, 1)
    ]
    assert not any(changed[0]) and all(changed[1])


@BOTH
@pytest.mark.parametrize("schedule", [(150, 0), (100, 200)])
def test_the_critic_learns(point_agent: SavedAgent, point_data: Dataset, over: Over, schedule: tuple[int, int]) -> None:
    """Its order of states (and actions) in trajectories that a member has not seen is mostly right."""
    few = few_shot(point_data, 2, Setting("medium", 10), 0, prompt_length=3)
    policy = make_policy("full", point_agent.agent, few.brief.prompts[:1], std=0.2)
    config = CriticConfig(monte_carlo=schedule[0], bootstrapped=schedule[1])
    _, worth = warm_critic(policy, few.trajectories, 0, config, over)
    _, fresh = warm_critic(policy, few.trajectories, 0, replace(config, monte_carlo=0, bootstrapped=0), over)
    print(over, schedule, worth, fresh)
    assert worth["critic_rank"] > 0.5 > fresh["critic_rank"]
    assert worth["critic_error"] < fresh["critic_error"]


def test_worth_by_hand(policy: Policy, data: Trajectories) -> None:
    """A critic that says twice the return of each step: its error is that of the returns, its order is theirs."""
    table = transitions_of(policy, data, 0.9)
    critic = initialise_critic(1, 2, 0, "v")
    critic.forward = lambda x, **_: 2.0 * x[:, 0].expand(2, -1)  # type: ignore[method-assign, misc]
    found = warming.worth_of(critic, table.returns[:, None], table, 5)
    errors = []
    for m in range(2):
        out = (table.trajectory % 5 == m).numpy()
        weight, told = (x.double().numpy()[out] for x in (table.weights, table.returns))
        errors.append((weight * told**2).sum() / (weight * (told - np.average(told, weights=weight)) ** 2).sum())
    assert found["critic_error"] == pytest.approx(np.mean(errors), rel=1e-5)
    assert found["critic_rank"] == pytest.approx(1.0)


def test_rank_correlation_is_that_of_scipy() -> None:
    a, b = torch.randn(2, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for x, y in ((a, b), (a, a + b), (a, -a), (a, a.exp())):
        assert rank_correlation(x, y) == pytest.approx(spearmanr(x, y).statistic, rel=1e-6)


def test_the_best_state_is_kept_and_a_drift_ends_the_warm_up(
    policy: Policy, data: Trajectories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors told here: the third check is the best, three worse ones end it."""
    seen: list[dict[str, Tensor]] = []
    told = iter([3.0, 2.0, 1.0, 5.0, 5.0, 5.0, 0.0, 0.0, 7.0])

    def worth(critic: Any, *_: Any) -> dict[str, float]:
        seen.append({name: tensor.clone() for name, tensor in critic.state_dict().items()})
        return {"critic_error": next(told), "critic_rank": 0.0}

    monkeypatch.setattr(warming, "worth_of", worth)
    kept = state(policy, data, "q", bootstrapped=16)
    assert len(seen) == 7  # six checks, and what it is worth in the end
    assert same(kept, seen[2]) and same(kept, seen[6]) and not same(kept, seen[5])
