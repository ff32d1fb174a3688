"""Decorator tuning: its formula, the edge of the action box, its size, and when the base is computed."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.helpers import few_batch, new_agent, tuned
from trajtune.agents.prompt_dt.config import PromptDTConfig
from trajtune.agents.saving import SavedAgent
from trajtune.algorithms.base import make_algorithm
from trajtune.data.fewshot import FewShot
from trajtune.errors import UserError
from trajtune.training.config import TrainConfig
from trajtune.tunings.decorator import DecoratorPolicy, into_box
from trajtune.tunings.making import make_policy, size_text, tuning_sizes
from trajtune.types import Batch

CONFIG = TrainConfig(steps=5, batch=8, warmup=0, log_every=1, precision="fp32", learning_rate=1e-2)


def made(base: SavedAgent, few: FewShot, seed: int = 0, **options: int) -> DecoratorPolicy:
    policy = make_policy("decorator", base.agent, few.brief.prompts[:1], options, std=0.2, seed=seed)
    assert isinstance(policy, DecoratorPolicy)
    return policy


def test_sizes_of_the_paper() -> None:
    """FACTS section 1: 140,808 numbers, 0.54 MB."""
    agent = new_agent(PromptDTConfig(27, 8, 200))
    policy = make_policy("decorator", agent, None, std=0.2)
    assert sum(p.numel() for p in policy.trainable().values()) == 140_808 == tuning_sizes(agent)["decorator"]
    assert sum(t.numel() for t in policy.delta().values()) == 140_808
    assert size_text(140_808) == "0.54 MB"


def test_formula_by_hand(point_agent: SavedAgent, point_few: FewShot) -> None:
    """clip(base(history) + W4 relu(W3 relu(W2 relu(W1 s + b1) + b2) + b3) + b4) with s normalised."""
    policy, batch = made(point_agent, point_few, hidden=7), few_batch(point_agent, point_few)
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        policy.residual.out.weight.normal_(0.0, 5.0, generator=g)
        policy.residual.out.bias.normal_(0.0, 0.3, generator=g)
        x = (batch.window.observations - point_agent.agent.observation_mean) / point_agent.agent.observation_std
        *hidden, last = zip(*[iter(dict(policy.residual.named_parameters()).values())] * 2, strict=True)
        for weight, bias in hidden:
            x = torch.maximum(x @ weight.T + bias, torch.zeros(()))
        expected = (point_agent.agent(batch) + x @ last[0].T + last[1]).clip(-1.0, 1.0)
        found = policy(batch)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert (found.abs() == 1.0).any() and (found.abs() < 1.0).any()


def test_starts_at_zero_with_hidden_layers_of_its_seed(point_agent: SavedAgent, point_few: FewShot) -> None:
    policy, batch = made(point_agent, point_few), few_batch(point_agent, point_few)
    with torch.no_grad():
        assert torch.equal(policy(batch), point_agent.agent(batch))
    state = torch.random.get_rng_state()
    first, same, other = (made(point_agent, point_few, seed).delta()["hidden1.weight"] for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert 0.6 * 2**-0.5 < first.abs().max() < 2**-0.5  # two observations come in
    assert set(policy.residual.out.weight.flatten().tolist()) == {0.0}


class TestEdge:
    """Inside, the gradient is exact; beyond the edge only one that leads back in passes."""

    @pytest.mark.parametrize(
        ("value", "gradient", "expected"),
        [
            (0.5, 3.0, 3.0),
            (0.5, -3.0, -3.0),
            (-1.0, -3.0, -3.0),
            (1.0, 3.0, 3.0),
            (1.5, 3.0, 3.0),  # descent goes against the gradient: down, back in
            (1.5, -3.0, 0.0),
            (-1.5, -3.0, -3.0),
            (-1.5, 3.0, 0.0),
        ],
    )
    def test_gradient(self, value: float, gradient: float, expected: float) -> None:
        x = torch.tensor([value], requires_grad=True)
        y = into_box(x)
        assert float(y.detach()) == max(-1.0, min(1.0, value))
        y.backward(torch.tensor([gradient]))
        assert x.grad is not None and float(x.grad) == expected

    def test_comes_back_where_a_clamp_would_stay(self) -> None:
        def after(clip: Callable[[Tensor], Tensor]) -> float:
            x = torch.tensor([2.0], requires_grad=True)
            for _ in range(100):
                (gradient,) = torch.autograd.grad((clip(x) - 0.3).square().sum(), x)
                x = (x - 0.1 * gradient).detach().requires_grad_()
            return float(x.detach())

        assert after(lambda x: x.clamp(-1.0, 1.0)) == 2.0
        assert after(into_box) == pytest.approx(0.3, abs=1e-3)

    def test_does_not_run_away(self) -> None:
        x = torch.tensor([0.95], requires_grad=True)
        for _ in range(100):
            (gradient,) = torch.autograd.grad(-into_box(x).sum(), x)  # more is always better, as to a naive critic
            x = (x - 0.1 * gradient).detach().requires_grad_()
        assert 1.0 < float(x.detach()) <= 1.1

    def test_members_of_a_fleet(self) -> None:
        x = torch.tensor([[0.5, 1.5], [-1.5, -0.2]])
        gradients = torch.func.vmap(torch.func.grad(lambda row: (into_box(row) - 2.0).square().sum()))(x)
        torch.testing.assert_close(gradients, torch.tensor([[-3.0, 0.0], [-6.0, -4.4]]))


class TestBase:
    def calls(self, policy: DecoratorPolicy) -> list[Batch]:
        seen: list[Batch] = []
        policy.base.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
        return seen

    def test_is_computed_once_a_step(self, point_agent: SavedAgent, point_few: FewShot) -> None:
        policy, batch = made(point_agent, point_few), few_batch(point_agent, point_few)
        seen = self.calls(policy)
        with torch.no_grad():
            expected = policy(batch), policy.reference(batch).mean
            assert len(seen) == 2  # nothing is kept by itself
            prepared = policy.prepare(batch)
            assert len(seen) == 3
            assert torch.equal(policy(prepared), expected[0])
            assert torch.equal(policy.reference(prepared).mean, expected[1])
            policy.mean_with(policy.trainable(), prepared)
        assert len(seen) == 3

    def test_once_a_step_of_q_guidance(self, point_agent: SavedAgent, point_few: FewShot) -> None:
        policy, batch = made(point_agent, point_few), few_batch(point_agent, point_few)
        algorithm = make_algorithm("qp-sft")
        algorithm.setup(policy, point_few.trajectories, 0)
        seen = self.calls(policy)
        batch = policy.prepare(batch)
        mean = policy(batch)
        algorithm.owned_loss(policy, batch, mean.detach())
        algorithm.loss(policy, batch, mean)[0].backward()
        assert len(seen) == 1

    def test_neither_learns_nor_drops_out(self, point_agent: SavedAgent, point_few: FewShot) -> None:
        policy, batch = made(point_agent, point_few), few_batch(point_agent, point_few)
        policy.train()
        assert policy.residual.training and not policy.base.training
        assert point_agent.agent.spec.dropout > 0
        with torch.no_grad():
            assert torch.equal(policy(batch), point_agent.agent(batch))
        policy.residual.out.bias.data.fill_(0.1)
        policy(batch).sum().backward()
        assert all(p.grad is None for p in policy.base.parameters())


def test_acts_with_the_residual(point_agent: SavedAgent, point_few: FewShot) -> None:
    """Who acts does what the policy says of the first step; it cannot be merged into the agent."""
    policy = tuned(point_agent, point_few, "sft", "decorator", CONFIG).policy
    first = few_batch(point_agent, point_few)
    states, asked = first.window.observations[:, :1], first.window.returns_to_go[:, :1]
    window = replace(first.window, observations=states.expand(-1, first.window.mask.shape[1], -1))
    window = replace(window, returns_to_go=asked.expand_as(window.mask), timesteps=torch.zeros_like(window.timesteps))
    with torch.no_grad():
        expected = policy(replace(first, window=window))[:, 0]
        found = policy.actor(first.prompt).act(0, asked[:, 0], states[:, 0], None)
        base = point_agent.agent.actor(first.prompt).act(0, asked[:, 0], states[:, 0], None)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert (found - base).abs().max() > 1e-3
    assert policy.merged() is None


def test_bf16_roughly_agrees(point_agent: SavedAgent, point_few: FewShot) -> None:
    batch = few_batch(point_agent, point_few)
    policies = [
        tuned(point_agent, point_few, "sft", "decorator", replace(CONFIG, precision=p, learning_rate=1e-3)).policy
        for p in ("fp32", "bf16")
    ]
    assert {p.dtype for p in policies[1].parameters()} == {torch.float32}
    with torch.no_grad():
        means = [policy(batch) for policy in policies]
    assert 0 < F.l1_loss(*means) < 0.01


def test_hidden_must_be_positive(point_agent: SavedAgent, point_few: FewShot) -> None:
    with pytest.raises(UserError, match="hidden must be at least 1, got 0"):
        made(point_agent, point_few, hidden=0)
    assert made(point_agent, point_few, hidden=5).delta()["hidden2.weight"].shape == (5, 5)
