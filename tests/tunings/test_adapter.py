"""Adapters of other methods than LoRA, through options; what plain ``peft`` makes of the files."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers import few_batch, tuned
from trajtune.agents.saving import SavedAgent
from trajtune.data.fewshot import FewShot
from trajtune.errors import UserError
from trajtune.training.config import TrainConfig
from trajtune.training.deltas import load_delta
from trajtune.tunings.making import make_policy, tuning_sizes

CONFIG = TrainConfig(steps=6, batch=8, warmup=0, log_every=1, precision="fp32", learning_rate=1e-2)
BLOCKS, WIDTH = 2, 32  # of the point agent

METHODS: dict[str, dict[str, Any]] = {
    "LoRA of another rank": {"options": {"r": 2}},
    "DoRA": {"options": {"use_dora": True}},
    "EVA": {"options": {"init_lora_weights": "eva"}},
    "IA3": {"method": "IA3"},
    "IA3 elsewhere": {"method": "IA3", "options": {"target_modules": ["out", "up"], "feedforward_modules": []}},
    "LoHa": {"method": "LOHA", "options": {"r": 2, "alpha": 2}},
}
LORA_8 = BLOCKS * 8 * (4 * WIDTH + 2 * WIDTH + 5 * WIDTH + 5 * WIDTH)
NUMBERS = {
    "LoRA of another rank": LORA_8 // 4,
    "EVA": LORA_8,
    "DoRA": LORA_8 + BLOCKS * (3 + 1 + 4 + 1) * WIDTH,  # a magnitude for every output
    "IA3": BLOCKS * (3 + 4) * WIDTH,  # qkv by output, down by input
    "IA3 elsewhere": BLOCKS * (1 + 4) * WIDTH,
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_peft(point_agent: SavedAgent, point_few: FewShot, tmp_path: Path, name: str) -> None:
    batch, options = few_batch(point_agent, point_few), METHODS[name]
    start = make_policy("adapter", point_agent.agent, point_few.brief.prompts[:1], options, std=0.2)
    with torch.no_grad():
        torch.testing.assert_close(start(batch), point_agent.agent(batch), rtol=0, atol=1e-6)
    done = tuned(point_agent, point_few, "qp-sft", "adapter", CONFIG, tuning_options=options, folder=tmp_path)
    delta = done.policy.delta()
    assert NUMBERS.get(name) in (None, sum(t.numel() for t in delta.values()))
    assert all(not torch.equal(p, start.trainable()[n]) for n, p in done.policy.trainable().items())
    with torch.no_grad():
        now = done.policy(batch)
        assert (now - point_agent.agent(batch)).abs().max() > 1e-3
        assert torch.equal(done.policy.reference(batch).mean, point_agent.agent(batch))
        assert torch.equal(load_delta(tmp_path, point_agent).policy(batch), now)
        torch.testing.assert_close(done.policy.merged()(batch), now, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_plain_peft_loads_them(point_agent: SavedAgent, point_few: FewShot, tmp_path: Path, name: str) -> None:
    from peft import PeftModel

    options, batch = METHODS[name], few_batch(point_agent, point_few)
    done = tuned(point_agent, point_few, "sft", "adapter", CONFIG, tuning_options=options, folder=tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["peft_type"] == options.get("method", "LORA")
    loaded = PeftModel.from_pretrained(copy.deepcopy(point_agent.agent), str(tmp_path)).eval()
    with torch.no_grad():
        torch.testing.assert_close(loaded.base_model.model(batch), done.policy(batch), rtol=0, atol=1e-5)


SUMMED: dict[str, tuple[dict[str, Any], bool]] = {
    "LoRA": ({}, True),
    "rank-stabilised": ({"options": {"use_rslora": True, "lora_alpha": 3}}, True),
    "dropout": ({"options": {"lora_dropout": 0.1}}, False),
    "biases": ({"options": {"bias": "lora_only"}}, False),
    "bias of B": ({"options": {"lora_bias": True}}, False),
    "DoRA": ({"options": {"use_dora": True}}, False),
    "IA3": ({"method": "IA3"}, False),
}


@pytest.mark.parametrize("name", SUMMED)
def test_adding_to_the_weights_is_adding_to_the_outputs(point_agent: SavedAgent, point_few: FewShot, name: str) -> None:
    """Values and gradients are those of PEFT's own pass; what is no sum of weights goes through PEFT."""
    options, summed = SUMMED[name]
    policy = make_policy("adapter", point_agent.agent, point_few.brief.prompts[:1], options, std=0.2)
    batch = few_batch(point_agent, point_few)
    assert len(policy._plain) == (4 * BLOCKS if summed else 0)
    for parameter in policy.trainable().values():
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    found = []
    for mean in (policy(batch), policy.agent(batch)):
        mean.square().sum().backward()
        found.append((mean.detach(), {n: p.grad for n, p in policy.trainable().items()}))
        policy.zero_grad()
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


def test_eva_starts_from_what_the_data_vary_in(point_agent: SavedAgent, point_few: FewShot) -> None:
    """A's rows span the first right singular vectors of what a map is given; nothing of it is seen at step 0."""
    options, prompt = METHODS["EVA"], point_few.brief.prompts[:1]
    policy = make_policy("adapter", point_agent.agent, prompt, options, std=0.2, seed=1)
    again = make_policy("adapter", point_agent.agent, prompt, options, std=0.2, seed=1)
    batches = [few_batch(point_agent, point_few, rows=32, seed=seed) for seed in range(8)]
    given: list[torch.Tensor] = []
    first = next(m for n, m in policy.base.named_modules() if n.endswith("qkv"))
    handle = first.register_forward_hook(lambda module, inputs, output: given.append(inputs[0]))
    with torch.no_grad():
        for batch in batches:
            policy.base(batch)
    handle.remove()
    full = [inputs[batch.window.mask.all(1)].flatten(0, -2) for inputs, batch in zip(given, batches, strict=True)]
    for each in (policy, again):
        each.initialise(iter(batches))
    a = next(p for name, p in policy.trainable().items() if "qkv.lora_A" in name)
    rows = torch.cat(full)
    *_, vectors = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    kept = (rows @ a.detach().T @ a.detach()).square().sum() / rows.square().sum()
    best = (rows @ vectors[:8].T @ vectors[:8]).square().sum() / rows.square().sum()
    assert kept > 0.97 * best and bool((a @ a.T - torch.eye(8)).abs().max() < 1e-4)
    with torch.no_grad():
        torch.testing.assert_close(policy(batches[0]), point_agent.agent(batches[0]), rtol=0, atol=1e-6)
    assert all(torch.equal(p, again.trainable()[name]) for name, p in policy.trainable().items())
    assert policy._moving == tuple(n for n, p in policy.named_parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "LORA", "options": {"target_modules": ["nothing"]}}, "LORA does not take these options"),
        ({"method": "IA3", "options": {"feedforward_modules": ["up"]}}, "IA3 does not take these options"),
        ({"method": "IA3", "options": {"r": 8}}, "IA3 does not take these options"),
        ({"method": "IA4"}, "unknown PEFT method 'IA4'"),
    ],
)
def test_options_that_do_not_fit(
    point_agent: SavedAgent, point_few: FewShot, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(UserError, match=says):
        make_policy("adapter", point_agent.agent, point_few.brief.prompts[:1], options, std=0.2)


def test_size_is_what_moves(point_agent: SavedAgent) -> None:
    assert tuning_sizes(point_agent.agent)["adapter"] == LORA_8
