"""The agent: the paper's sizes, causality, padding, the normaliser, and files that are damaged."""

import json
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from trajtune.agents import AgentConfig, PromptDT, SavedAgent, initialise, load_agent, save_agent
from trajtune.agents.saving import digest
from trajtune.errors import UserError
from trajtune.tunings import make_policy
from trajtune.types import Batch, Prompt, Window

S, A = 27, 8  # Ant-Dir, whose sizes the paper prints
MB = 2**20
SMALL = AgentConfig(observation_dim=3, action_dim=2, layers=2, width=16, heads=2, window=5, prompt=3, max_timesteps=12)


def random_agent(config: AgentConfig = SMALL, seed: int = 0) -> PromptDT:
    """Weights far larger than at the start of training, so that every token matters."""
    agent = initialise(config, seed).eval()
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return agent


def random_batch(config: AgentConfig = SMALL, rows: int = 4, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    s, a, k, p = config.observation_dim, config.action_dim, config.window, config.prompt

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=g)

    prompt = Prompt(normal(rows, p), normal(rows, p, s), normal(rows, p, a), torch.arange(p).expand(rows, -1))
    window = Window(
        returns_to_go=normal(rows, k),
        observations=normal(rows, k, s),
        actions=normal(rows, k, a),
        rewards=normal(rows, k),
        timesteps=torch.arange(2, 2 + k).expand(rows, -1),
        terminals=torch.zeros(rows, k, dtype=torch.bool),
        mask=torch.ones(rows, k, dtype=torch.bool),
        index=torch.zeros(rows, k, dtype=torch.int64),
    )
    return Batch(prompt, window)


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
        assert count(PromptDT(AgentConfig(S, A))) == by_hand
        assert round(4 * by_hand / MB, 2) == 2.52

    def test_adapter(self) -> None:
        d, rank = 128, 8
        by_hand = 3 * rank * ((d + 3 * d) + (d + d) + (d + 4 * d) + (4 * d + d))
        assert by_hand == 49_152
        agent = initialise(AgentConfig(S, A), seed=0)
        policy = make_policy("adapter", agent, random_batch(agent.config, rows=1).prompt)
        assert sum(p.numel() for p in policy.trainable().values()) == by_hand
        assert round(4 * by_hand / MB, 2) == 0.19

    def test_prompt(self) -> None:
        """The paper counts return-to-go, reward, timestep and mask beside state and action."""
        config = AgentConfig(S, A)
        by_hand = config.prompt * (S + A + 4)
        assert by_hand == 5 * 39 == 195
        assert round(4 * by_hand / 2**10, 2) == 0.76

    def test_full_model_of_the_largest_agent_can_be_built(self) -> None:
        d, layers = 256, 48
        with torch.device("meta"):
            agent = PromptDT(AgentConfig(S, A, layers=layers, width=d, heads=16))
        assert count(agent.transformer) == layers * (12 * d * d + 13 * d) + 2 * d

    def test_both_timestep_tables_hold_every_timestep(self) -> None:
        agent = PromptDT(AgentConfig(S, A))
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
        assert digest(initialise(SMALL, 3)) == digest(initialise(SMALL, 3)) != digest(initialise(SMALL, 4))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"layers": 0}, "layers must be a positive whole number, got 0"),
        ({"width": 2.5}, "width must be a positive whole number, got 2.5"),
        ({"heads": 3}, r"width \(16\) must be a multiple of its heads \(3\)"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_impossible_sizes_are_refused(change: dict[str, float], says: str) -> None:
    with pytest.raises(UserError, match=says):
        replace(SMALL, **change)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_agent(tmp_path / "agent", random_agent(), {"suite": "point", "tasks": [1, 2]})
    return tmp_path / "agent"


def edit_config(folder: Path, change: Callable[[dict], object]) -> None:
    path = folder / "config.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def edit_weights(folder: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    from safetensors.numpy import load_file, save_file

    path = folder / "agent.safetensors"
    arrays = load_file(path)
    change(arrays)
    save_file(arrays, path)


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


class TestFiles:
    def test_round_trip(self, saved: Path) -> None:
        agent, loaded = random_agent(), load_agent(saved)
        assert isinstance(loaded, SavedAgent)
        assert loaded.digest == digest(agent) == digest(loaded.agent)
        assert loaded.agent.config == agent.config
        assert loaded.provenance == {"suite": "point", "tasks": [1, 2]}
        assert not loaded.agent.training
        with torch.no_grad():
            assert torch.equal(loaded.agent(random_batch()), agent(random_batch()))

    def test_digest_covers_what_is_no_parameter(self) -> None:
        agent = random_agent()
        before = digest(agent)
        agent.observation_mean[0] += 1
        assert digest(agent) != before
        agent = random_agent()
        agent.config = replace(SMALL, heads=4)
        assert digest(agent) != before

    @pytest.mark.parametrize(
        ("damage", "names", "says"),
        [
            (lambda f: (f / "agent.safetensors").unlink(), "agent.safetensors", "is missing"),
            (lambda f: (f / "config.json").unlink(), "config.json", "not an agent"),
            (lambda f: rewrite(f / "agent.safetensors", lambda b: b[:-1]), "agent.safetensors", "damaged"),
            (lambda f: rewrite(f / "agent.safetensors", lambda b: b[:100]), "agent.safetensors", "damaged"),
            (lambda f: rewrite(f / "agent.safetensors", lambda b: b""), "agent.safetensors", "damaged"),
            (lambda f: rewrite(f / "agent.safetensors", lambda b: b[:-4] + b"\0\0\0\1"), "agent.safetensors", "digest"),
            (lambda f: rewrite(f / "agent.safetensors", lambda b: b"PK\3\4" + b), "agent.safetensors", "damaged"),
            (lambda f: rewrite(f / "config.json", lambda b: b[:50]), "config.json", "JSON"),
            (lambda f: rewrite(f / "config.json", lambda b: b"\xff\xfe" + b), "config.json", "JSON"),
            (lambda f: rewrite(f / "config.json", lambda b: b"[1, 2]"), "config.json", "does not describe"),
            (lambda f: edit_config(f, lambda c: c.update(format="gpt2")), "config.json", "does not describe"),
            (lambda f: edit_config(f, lambda c: c.update(version=2)), "agent", "version 2; this trajtune reads 1"),
            (lambda f: edit_config(f, lambda c: c.pop("config")), "config.json", "no config"),
            (lambda f: edit_config(f, lambda c: c["config"].update(depth=3)), "", "depth"),
            (lambda f: edit_config(f, lambda c: c["config"].pop("action_dim")), "", "action_dim"),
            (lambda f: edit_config(f, lambda c: c["config"].update(layers=3)), "agent.safetensors", "does not fit"),
            (lambda f: edit_config(f, lambda c: c["config"].update(width=32)), "agent.safetensors", "does not fit"),
            (lambda f: edit_config(f, lambda c: c["config"].update(heads=4)), "agent.safetensors", "digest"),
            (lambda f: edit_config(f, lambda c: c["config"].update(window=9)), "agent.safetensors", "digest"),
            (lambda f: edit_config(f, lambda c: c.pop("digest")), "agent.safetensors", "digest"),
            (
                lambda f: edit_weights(f, lambda a: a["action_head.bias"].fill(np.nan)),
                "agent.safetensors",
                "action_head.bias has non-finite",
            ),
            (
                lambda f: edit_weights(f, lambda a: a["observation_std"].fill(np.inf)),
                "agent.safetensors",
                "observation_std has non-finite",
            ),
            (
                lambda f: edit_weights(f, lambda a: a.update(extra=np.zeros(3))),
                "agent.safetensors",
                "missing or too many: extra",
            ),
            (lambda f: edit_weights(f, lambda a: a.pop("return_scale")), "agent.safetensors", "return_scale"),
        ],
    )
    def test_damage_is_one_line_that_names_the_file(
        self, saved: Path, damage: Callable[[Path], object], names: str, says: str
    ) -> None:
        damage(saved)
        with pytest.raises(UserError) as caught:
            load_agent(saved)
        assert names in str(caught.value)
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_another_kind_of_model_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"model_type": "gpt2", "n_layer": 12}')
        with pytest.raises(UserError, match="does not describe a trajtune agent"):
            load_agent(tmp_path)

    @pytest.mark.parametrize("name", ["config.json", "agent.safetensors"])
    def test_flipped_bytes_never_pass_as_other_weights(self, tmp_path: Path, name: str) -> None:
        config = replace(SMALL, layers=1, width=4, max_timesteps=4)
        good, bad = tmp_path / "good", tmp_path / "bad"
        save_agent(good, random_agent(config), {"suite": "point"})
        expected = load_agent(good).digest
        shutil.copytree(good, bad)
        content = (good / name).read_bytes()
        rng = np.random.default_rng(0)
        # The safetensors header is most of what can go wrong in interesting ways.
        header = len(content) if name == "config.json" else 8 + int.from_bytes(content[:8], "little")
        places = [*rng.integers(header, size=250), *rng.integers(len(content), size=50), *range(8)]
        refused = []
        for place in places:
            flipped = bytearray(content)
            flipped[place] ^= int(rng.integers(1, 256))
            (bad / name).write_bytes(flipped)
            try:
                assert load_agent(bad).digest == expected
            except UserError as error:
                refused.append(str(error))
        assert len(refused) > len(places) / 2
        assert [message for message in refused if "\n" in message] == []
