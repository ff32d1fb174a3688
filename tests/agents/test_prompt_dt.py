"""The agent: the paper's sizes, causality, padding, the normaliser, and life without a prompt."""

from dataclasses import asdict, fields, replace

import pytest
import torch
from torch import nn

from tests.helpers import SMALL, new_agent, random_agent, random_batch
from trajtune.agents.prompt_dt.config import PromptDTConfig
from trajtune.agents.prompt_dt.model import PromptDT
from trajtune.agents.saving import identity, initialise
from trajtune.errors import UserError
from trajtune.tunings.making import make_policy
from trajtune.types import Batch, Window

S, A = 27, 8  # Ant-Dir, whose sizes the paper prints
PAPER = PromptDTConfig(S, A, 200)
MB = 2**20


def changed(batch: Batch, name: str, step: int) -> Batch:
    """The batch with one field of the window different at one step."""
    value = getattr(batch.window, name).clone()
    value[:, step] += 1 if name == "timesteps" else 10.0
    return replace(batch, window=replace(batch.window, **{name: value}))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


class TestSizes:
    """FACTS section 1: the sizes of the paper's section 5, in fp32, 1 MB = 2^20 bytes."""

    def test_full(self) -> None:
        d = 128
        embeddings = (1 * d + d) + (S * d + d) + (A * d + d) + 200 * d
        block = (3 * d * d + 3 * d) + (d * d + d) + (4 * d * d + 4 * d) + (4 * d * d + d) + 2 * (2 * d)
        heads = (d * A + A) + (d * S + S) + (d * 1 + 1)
        by_hand = 2 * embeddings + 2 * d + 3 * block + 2 * d + heads
        assert by_hand == 661_156
        assert count(PromptDT(PAPER)) == by_hand
        assert round(4 * by_hand / MB, 2) == 2.52

    def test_adapter(self) -> None:
        d, rank = 128, 8
        by_hand = 3 * rank * ((d + 3 * d) + (d + d) + (d + 4 * d) + (4 * d + d))
        assert by_hand == 49_152
        policy = make_policy("adapter", new_agent(PAPER), random_batch(PAPER, rows=1).prompt, std=0.2)
        assert sum(p.numel() for p in policy.trainable().values()) == by_hand
        assert round(4 * by_hand / MB, 2) == 0.19

    def test_prompt(self) -> None:
        """The paper counts return-to-go, reward, timestep and mask beside state and action."""
        by_hand = PAPER.prompt * (S + A + 4)
        assert by_hand == 5 * 39 == 195
        assert round(4 * by_hand / 2**10, 2) == 0.76

    def test_full_model_of_the_largest_agent_can_be_built(self) -> None:
        d, layers = 256, 48
        with torch.device("meta"):
            agent = PromptDT(replace(PAPER, layers=layers, width=d, heads=16))
        assert count(agent.transformer) == layers * (12 * d * d + 13 * d) + 2 * d

    def test_both_timestep_tables_hold_every_timestep(self) -> None:
        agent = PromptDT(PAPER)
        assert agent.prompt_embeddings is not None
        assert agent.prompt_embeddings.timesteps.weight.shape == agent.history_embeddings.timesteps.weight.shape
        assert agent.history_embeddings.timesteps.weight.shape == (200, 128)


class TestForward:
    @pytest.mark.parametrize("layers", [1, 2, 3])
    def test_equals_the_full_computation(self, layers: int) -> None:
        """forward leaves out what no action depends on; predict computes everything."""
        config = replace(SMALL, layers=layers)
        agent, batch = random_agent(config), random_batch(config)
        with torch.no_grad():
            full = agent.predict(batch)
            torch.testing.assert_close(agent(batch), full.actions, rtol=0, atol=1e-5)
        assert full.states.shape == (4, 5, 3)
        assert full.returns.shape == (4, 5)
        assert full.actions.std() > 0.1  # the agent is not one that says the same everywhere

    @pytest.mark.parametrize("name", ["returns_to_go", "observations", "actions", "timesteps"])
    @pytest.mark.parametrize("step", range(5))
    def test_no_action_depends_on_what_comes_later(self, name: str, step: int) -> None:
        agent, batch = random_agent(), random_batch()
        with torch.no_grad():
            before, after = agent(batch), agent(changed(batch, name, step))
        first_seen = step + 1 if name == "actions" else step  # the action at t is what is predicted there
        assert torch.equal(before[:, :first_seen], after[:, :first_seen])
        if first_seen < 5:
            difference = (before[:, first_seen:] - after[:, first_seen:]).abs().amax(dim=(0, 2))
            assert (difference > 1e-4).all()  # and everything later does

    def test_next_state_and_return_come_from_the_action_token(self) -> None:
        agent, batch = random_agent(), random_batch()
        with torch.no_grad():
            before, after = agent.predict(batch), agent.predict(changed(batch, "actions", 2))
        for name in ("states", "returns"):
            a, b = getattr(before, name), getattr(after, name)
            assert torch.equal(a[:, :2], b[:, :2])
            assert not torch.isclose(a[:, 2], b[:, 2]).any()

    @pytest.mark.parametrize("name", ["returns_to_go", "observations", "actions", "timesteps"])
    def test_prompt_matters(self, name: str) -> None:
        agent, batch = random_agent(), random_batch()
        value = getattr(batch.prompt, name).clone()
        value[:, 1] += 1 if name == "timesteps" else 10.0
        with torch.no_grad():
            after = agent(replace(batch, prompt=replace(batch.prompt, **{name: value})))
            assert ((after - agent(batch)).abs().amax(dim=(0, 2)) > 1e-4).all()

    @pytest.mark.parametrize("valid", [1, 3, 4])
    def test_padding_on_the_right_changes_nothing(self, valid: int) -> None:
        agent, batch = random_agent(), random_batch()
        padded = {}
        for f in fields(Window):
            value = getattr(batch.window, f.name).clone()
            value[:, valid:] = 0 if value.dtype in (torch.bool, torch.int64) else 1e6
            padded[f.name] = value
        cut = Window(**{f.name: getattr(batch.window, f.name)[:, :valid] for f in fields(Window)})
        with torch.no_grad():
            whole, garbage = agent(batch), agent(replace(batch, window=Window(**padded)))
            short = agent(replace(batch, window=cut))
        assert torch.equal(whole[:, :valid], garbage[:, :valid])
        torch.testing.assert_close(short, whole[:, :valid], rtol=0, atol=1e-5)

    def test_rewards_and_masks_are_not_inputs(self) -> None:
        agent, batch = random_agent(), random_batch()
        other = replace(batch.window, rewards=batch.window.rewards + 1, mask=~batch.window.mask)
        with torch.no_grad():
            assert torch.equal(agent(batch), agent(replace(batch, window=other)))

    def test_normaliser_travels_with_the_agent(self) -> None:
        """Raw numbers into a fitted agent are normalised numbers into one that is not."""
        agent, plain, batch = random_agent(), random_agent(), random_batch()
        mean, std, scale = torch.tensor([5.0, -3.0, 100.0]), torch.tensor([2.0, 0.5, 40.0]), 70.0
        with torch.no_grad():
            agent.observation_mean.copy_(mean)
            agent.observation_std.copy_(std)
            agent.return_scale.fill_(scale)
            raw = Batch(
                *(
                    replace(part, observations=part.observations * std + mean, returns_to_go=part.returns_to_go * scale)
                    for part in (batch.prompt, batch.window)
                )
            )
            torch.testing.assert_close(agent(raw), plain(batch), rtol=0, atol=2e-5)
            assert (agent(raw) - plain(raw)).abs().max() > 0.1

    def test_dropout_only_in_training(self) -> None:
        agent, batch = random_agent(), random_batch()
        with torch.no_grad():
            assert torch.equal(agent(batch), agent(batch))
            agent.train()
            assert not torch.equal(agent(batch), agent(batch))

    def test_same_seed_same_weights(self) -> None:
        first, same, other = (identity(initialise("prompt-dt", asdict(SMALL), seed)) for seed in (3, 3, 4))
        assert first == same != other


class TestWithoutPrompt:
    """A prompt length of 0: only the return asked for tells the task."""

    bare = replace(SMALL, prompt=0)

    def test_has_no_prompt_embeddings_and_predicts(self) -> None:
        agent, batch = random_agent(self.bare), random_batch(self.bare)
        assert agent.prompt_embeddings is None and batch.prompt is None
        with torch.no_grad():
            full = agent.predict(batch)
            torch.testing.assert_close(agent(batch), full.actions, rtol=0, atol=1e-5)
        assert full.returns.shape == (4, 5)

    @pytest.mark.parametrize("tuning", ["adapter", "decorator", "full"])
    def test_is_tuned(self, tuning: str) -> None:
        agent, batch = random_agent(self.bare), random_batch(self.bare)
        policy = make_policy(tuning, agent, None, std=0.2)
        with torch.no_grad():
            torch.testing.assert_close(policy(batch), agent(batch), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"layers": 0}, "layers must be a whole number from 1, got 0"),
        ({"width": 2.5}, "width must be a whole number from 1, got 2.5"),
        ({"heads": 3}, r"width \(16\) must be a multiple of its heads \(3\)"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_impossible_sizes_are_refused(change: dict[str, float], says: str) -> None:
    with pytest.raises(UserError, match=says):
        replace(SMALL, **change)
