"""Prompt tuning: its parametrisation, its size, and that acting reads what training read."""

from dataclasses import replace

import pytest
import torch

from trajtune.agents import AgentConfig, SavedAgent, initialise
from trajtune.training import FewShot, TrainConfig, finetune
from trajtune.tunings import make_policy
from trajtune.tunings.prompt import PromptPolicy
from trajtune.tunings.sizes import as_text, tuning_sizes
from trajtune.types import Batch, Prompt, Window

CONFIG = TrainConfig(steps=5, batch=8, warmup=0, log_every=1, precision="fp32")


def some_prompt(steps: int, states: int, actions: int, batch: int = 1, seed: int = 0) -> Prompt:
    g = torch.Generator().manual_seed(seed)
    times = (torch.arange(steps) + 3).expand(batch, steps)
    values = [torch.randn(batch, steps, *n, generator=g) for n in ((), (states,), (actions,))]
    return Prompt(*values, times)


def some_window(steps: int, states: int, actions: int, batch: int, seed: int = 1) -> Window:
    g = torch.Generator().manual_seed(seed)
    returns, observations, done = (torch.randn(batch, steps, *n, generator=g) for n in ((), (states,), (actions,)))
    yes = torch.ones(batch, steps, dtype=torch.bool)
    times = torch.arange(steps).expand(batch, steps)
    return Window(returns, observations, done, returns, times, ~yes, yes, times)


@pytest.fixture
def policy() -> PromptPolicy:
    """Its agent has units far from 1: a careless round trip through them would show."""
    agent = initialise(AgentConfig(3, 2, layers=2, width=16, window=4, prompt=2), 0)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)), alpha=0.2)
    agent.observation_mean.copy_(torch.tensor([1000.0, -0.5, 0.0]))
    agent.observation_std.copy_(torch.tensor([0.1, 2.0, 7.0]))
    agent.return_scale.fill_(300.0)
    made = make_policy("prompt", agent, some_prompt(2, 3, 2))
    assert isinstance(made, PromptPolicy)
    return made


def test_sizes_of_the_paper() -> None:
    """FACTS section 1: 195 numbers as the paper counts, of which 180 = 5 x 36 can learn."""
    config = AgentConfig(27, 8)
    made = make_policy("prompt", initialise(config, 0), some_prompt(5, 27, 8))
    assert sum(t.numel() for t in made.delta().values()) == sum(p.numel() for p in made.trainable().values()) == 5 * 36
    assert tuning_sizes(config)["prompt"] == 180 + 3 * 5  # and reward, timestep and mask a step
    assert as_text(195) == "0.76 KB"


def test_starts_as_the_agent_under_the_sampled_prompt_to_the_bit(policy: PromptPolicy) -> None:
    window, drawn = some_window(4, 3, 2, 6), some_prompt(2, 3, 2, batch=6, seed=9)
    first = some_prompt(2, 3, 2)[torch.zeros(6, dtype=torch.int64)]
    with torch.no_grad():
        expected = policy.agent(Batch(first, window))
        assert torch.equal(policy(Batch(drawn, window)), expected)  # whatever prompt the batch brings
        assert torch.equal(policy.reference(Batch(drawn, window)).mean, expected)
        assert not torch.equal(policy.agent(Batch(drawn, window)), expected)


def test_offsets_are_in_the_units_of_the_agent(policy: PromptPolicy) -> None:
    start, now = some_prompt(2, 3, 2), policy.prompt()
    assert torch.equal(now.observations, start.observations)
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter.fill_(2.0)
    now = policy.prompt()
    torch.testing.assert_close(now.returns_to_go, start.returns_to_go + 600.0)
    torch.testing.assert_close(now.observations, start.observations + torch.tensor([0.2, 4.0, 14.0]))
    torch.testing.assert_close(now.actions, start.actions + 2.0)
    assert torch.equal(now.timesteps, start.timesteps)


def test_gradients_are_those_of_the_raw_numbers_times_their_units(policy: PromptPolicy) -> None:
    window = some_window(4, 3, 2, 6)
    policy(Batch(some_prompt(2, 3, 2, batch=6), window)).square().sum().backward()
    raw = some_prompt(2, 3, 2, batch=1)
    names = ("returns_to_go", "observations", "actions")
    leaves = {name: getattr(raw, name).clone().requires_grad_() for name in names}
    six = replace(raw, **{name: t.repeat(6, *[1] * (t.dim() - 1)) for name, t in leaves.items()})
    six = replace(six, timesteps=raw.timesteps.repeat(6, 1))
    policy.agent(Batch(six, window)).square().sum().backward()
    units = {"returns_to_go": 300.0, "observations": policy.agent.observation_std, "actions": 1.0}
    for name, parameter in policy.trainable().items():
        gradient = leaves[name].grad
        assert gradient is not None and parameter.grad is not None and gradient.all()
        torch.testing.assert_close(parameter.grad, (gradient * units[name])[0], rtol=1e-3, atol=1e-6)


def test_plain_carries_the_tuned_prompt(point_agent: SavedAgent, point_few: FewShot) -> None:
    policy = finetune(point_agent, point_few, "sft", "prompt", CONFIG).policy
    assert isinstance(policy, PromptPolicy)
    plain = policy.plain()
    size = point_agent.agent.config
    batch = Batch(
        some_prompt(size.prompt, 2, 2, batch=5), some_window(size.window, size.observation_dim, size.action_dim, 5)
    )
    assert plain.prompt is not None and plain.residual is None and len(plain.prompt) == 1
    own = Batch(plain.prompt[torch.zeros(5, dtype=torch.int64)], batch.window)
    with torch.no_grad():
        torch.testing.assert_close(plain.agent(own), policy(batch), rtol=0, atol=0)
    before = plain.prompt.observations.clone()
    with torch.no_grad():
        policy.observations.add_(1.0)
    assert torch.equal(plain.prompt.observations, before)  # a copy


def test_a_delta_that_lacks_a_number_does_not_fit(policy: PromptPolicy) -> None:
    delta = policy.delta()
    with pytest.raises(KeyError, match="actions is missing"):
        policy.load_delta({name: delta[name] for name in ("returns_to_go", "observations")})
    with pytest.raises(KeyError, match="extra is not a parameter"):
        policy.load_delta({**delta, "extra": torch.zeros(2)})
    with pytest.raises(ValueError, match=r"actions is \(1, 2\), expected \(2, 2\)"):
        policy.load_delta({**delta, "actions": delta["actions"][:1]})
