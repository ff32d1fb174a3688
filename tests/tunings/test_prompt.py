"""Prompt tuning: its parametrisation, its size, and that acting reads what training read."""

from dataclasses import replace

import pytest
import torch

from tests.helpers import new_agent, random_agent, random_prompt, random_window, tuned
from trajtune.agents.prompt_dt.config import PromptDTConfig
from trajtune.agents.saving import SavedAgent
from trajtune.data.fewshot import FewShot
from trajtune.errors import UserError
from trajtune.training.config import TrainConfig
from trajtune.tunings.making import make_policy, size_text, tuning_sizes
from trajtune.tunings.prompt import PromptPolicy
from trajtune.types import Batch

CONFIG = TrainConfig(steps=5, batch=8, warmup=0, log_every=1, precision="fp32")


@pytest.fixture
def policy() -> PromptPolicy:
    """Its agent has units far from 1: a careless round trip through them would show."""
    agent = random_agent(PromptDTConfig(3, 2, 200, layers=2, width=16, window=4, prompt=2), scale=0.2)
    agent.observation_mean.copy_(torch.tensor([1000.0, -0.5, 0.0]))
    agent.observation_std.copy_(torch.tensor([0.1, 2.0, 7.0]))
    agent.return_scale.fill_(300.0)
    made = make_policy("prompt", agent, random_prompt(2, 3, 2), std=0.2)
    assert isinstance(made, PromptPolicy)
    return made


def test_sizes_of_the_paper() -> None:
    """FACTS section 1: 195 numbers as the paper counts, of which 180 = 5 x 36 can learn."""
    agent = new_agent(PromptDTConfig(27, 8, 200))
    made = make_policy("prompt", agent, random_prompt(5, 27, 8), std=0.2)
    assert sum(t.numel() for t in made.delta().values()) == sum(p.numel() for p in made.trainable().values()) == 5 * 36
    assert tuning_sizes(agent)["prompt"] == 180
    assert size_text(180 + 3 * 5) == "0.76 KB"  # and reward, timestep and mask a step


def test_an_agent_without_a_prompt_has_nothing_to_tune() -> None:
    agent = new_agent(PromptDTConfig(3, 2, 9, layers=1, width=8, prompt=0))
    with pytest.raises(UserError, match="tuning prompt needs a prompt, which this prompt-dt agent has not"):
        make_policy("prompt", agent, None, std=0.2)
    assert tuning_sizes(agent).keys() == {"adapter", "decorator", "full"}


def test_starts_as_the_agent_under_the_sampled_prompt_to_the_bit(policy: PromptPolicy) -> None:
    window, drawn = random_window(4, 3, 2, 6), random_prompt(2, 3, 2, rows=6, seed=9)
    first = random_prompt(2, 3, 2)[torch.zeros(6, dtype=torch.int64)]
    with torch.no_grad():
        expected = policy.agent(Batch(first, window))
        assert torch.equal(policy(Batch(drawn, window)), expected)  # whatever prompt the batch brings
        assert torch.equal(policy.reference(Batch(drawn, window)).mean, expected)
        assert not torch.equal(policy.agent(Batch(drawn, window)), expected)


def test_offsets_are_in_the_units_of_the_agent(policy: PromptPolicy) -> None:
    start, now = random_prompt(2, 3, 2), policy.prompt()
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
    window = random_window(4, 3, 2, 6)
    policy(Batch(random_prompt(2, 3, 2, rows=6), window)).square().sum().backward()
    raw = random_prompt(2, 3, 2, rows=1)
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


def test_acts_under_the_tuned_prompt(point_agent: SavedAgent, point_few: FewShot) -> None:
    policy = tuned(point_agent, point_few, "sft", "prompt", CONFIG).policy
    assert isinstance(policy, PromptPolicy) and policy.merged() is None
    spec = point_agent.agent.spec
    handed_in = random_prompt(spec.prompt, 2, 2, rows=5)
    own = policy.prompt()[torch.zeros(5, dtype=torch.int64)]
    states, asked = torch.rand(5, 2, generator=torch.Generator().manual_seed(3)), torch.linspace(-9.0, -1.0, 5)
    with torch.no_grad():
        found = policy.actor(handed_in).act(0, asked, states, None)
        torch.testing.assert_close(found, point_agent.agent.actor(own).act(0, asked, states, None), rtol=0, atol=0)
        other = point_agent.agent.actor(handed_in).act(0, asked, states, None)
    assert not torch.allclose(found, other)


def test_a_delta_that_lacks_a_number_does_not_fit(policy: PromptPolicy) -> None:
    delta = policy.delta()
    with pytest.raises(KeyError, match="actions is missing"):
        policy.load_delta({name: delta[name] for name in ("returns_to_go", "observations")})
    with pytest.raises(KeyError, match="extra has no place here"):
        policy.load_delta({**delta, "extra": torch.zeros(2)})
    with pytest.raises(ValueError, match=r"actions is \(1, 2\), expected \(2, 2\)"):
        policy.load_delta({**delta, "actions": delta["actions"][:1]})
