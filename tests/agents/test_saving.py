"""Agents on disk: a round trip, and files that are damaged, edited or of another version."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers import SMALL, random_agent, random_batch, random_prompt
from trajtune.agents.saving import SavedAgent, identity, load_agent, save_agent
from trajtune.artifacts import signature
from trajtune.data.fewshot import Brief
from trajtune.errors import UserError

BRIEF = Brief(random_prompt(3, 3, 2, rows=4, first=0), -3.5, {"random": -9.0, "expert": -1.0})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_agent(tmp_path / "agent", random_agent(), "point", {7: BRIEF}, {"run": {"tasks": [1, 2]}})
    return tmp_path / "agent"


class TestHalfPrecision:
    def test_holds_the_rounded_agent_and_the_normaliser_as_it_was(self, tmp_path: Path) -> None:
        agent = random_agent()
        agent.observation_mean.fill_(1.0 + 2.0**-20)
        save_agent(tmp_path / "half", agent, None, {}, {}, "float16")
        save_agent(tmp_path / "whole", agent, None, {}, {})
        loaded = load_agent(tmp_path / "half").agent
        for name, parameter in agent.named_parameters():
            assert torch.equal(loaded.get_parameter(name), parameter.half().float())
        assert torch.equal(loaded.observation_mean, agent.observation_mean)
        assert 0.45 < _size(tmp_path / "half") / _size(tmp_path / "whole") < 0.6
        save_agent(tmp_path / "again", loaded, None, {}, {})
        assert load_agent(tmp_path / "again").digest == load_agent(tmp_path / "half").digest

    def test_refuses_what_it_cannot_hold(self, tmp_path: Path) -> None:
        agent = random_agent()
        name, parameter = next(iter(agent.named_parameters()))
        parameter.data.fill_(1e5)
        with pytest.raises(UserError, match=f"{name} has a weight that float16 cannot hold"):
            save_agent(tmp_path / "half", agent, None, {}, {}, "float16")


def _size(folder: Path) -> int:
    return (folder / "agent.safetensors").stat().st_size


def edit_header(folder: Path, change: Callable[[dict], object], sign: bool = False) -> None:
    """``sign``: as somebody would who knows the format."""
    path = folder / "agent.json"
    values = json.loads(path.read_text())
    change(values)
    if sign:
        values["digest"] = signature({k: v for k, v in values.items() if k != "digest"})
    path.write_text(json.dumps(values))


def edit_weights(folder: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    """The header is signed anew: what is wrong has to be found in the weights themselves."""
    from safetensors.numpy import load_file, save_file

    from trajtune.files import sha256

    path = folder / "agent.safetensors"
    arrays = load_file(path)
    change(arrays)
    save_file(arrays, path)
    entry = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    edit_header(folder, lambda h: h["files"].update({path.name: entry}), sign=True)


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def same_brief(a: Mapping[int, Brief], b: Mapping[int, Brief]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(a[t].prompts.actions, b[t].prompts.actions)
        and (a[t].target_return, a[t].references) == (b[t].target_return, b[t].references)
        for t in a
    )


def test_round_trip(saved: Path) -> None:
    agent, loaded = random_agent(), load_agent(saved)
    assert isinstance(loaded, SavedAgent)
    assert loaded.digest == identity(agent) == identity(loaded.agent)
    assert loaded.agent.spec == agent.spec
    assert loaded.suite == "point" and loaded.header["run"] == {"tasks": [1, 2]}
    assert same_brief(loaded.briefs, {7: BRIEF})
    assert not loaded.agent.training
    with torch.no_grad():
        assert torch.equal(loaded.agent(random_batch()), agent(random_batch()))


def test_an_agent_without_prompts_round_trips(tmp_path: Path) -> None:
    bare = random_agent(replace(SMALL, prompt=0))
    save_agent(tmp_path, bare, None, {1: replace(BRIEF, prompts=None)}, {})
    loaded = load_agent(tmp_path)
    assert loaded.suite is None and loaded.briefs[1].prompts is None
    assert loaded.digest == identity(bare)


def test_half_precision_weights_load_as_what_they_say(tmp_path: Path) -> None:
    agent = random_agent()
    for tensor in agent.state_dict().values():
        tensor.copy_(tensor.half().float())
    save_agent(tmp_path, agent, None, {}, {})
    edit_weights(tmp_path, lambda arrays: arrays.update({n: a.astype(np.float16) for n, a in arrays.items()}))
    assert load_agent(tmp_path).digest == identity(agent)


def test_identity_covers_what_is_no_parameter() -> None:
    agent = random_agent()
    before = identity(agent)
    agent.observation_mean[0] += 1
    assert identity(agent) != before
    agent = random_agent()
    agent.spec = replace(SMALL, heads=4)
    assert identity(agent) != before


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "agent.safetensors").unlink(), "agent.safetensors is missing"),
        (lambda f: (f / "briefs.safetensors").unlink(), "briefs.safetensors is missing"),
        (lambda f: (f / "agent.json").unlink(), "it has no agent.json"),
        (lambda f: rewrite(f / "agent.safetensors", lambda b: b[:-1]), "agent.safetensors is damaged"),
        (lambda f: rewrite(f / "agent.safetensors", lambda b: b[:-4] + b"\0\0\0\1"), "checksum"),
        (lambda f: rewrite(f / "briefs.safetensors", lambda b: b[:-4] + b"\0\0\0\1"), "checksum"),
        (lambda f: rewrite(f / "agent.json", lambda b: b[:50]), "JSON"),
        (lambda f: rewrite(f / "agent.json", lambda b: b"\xff\xfe" + b), "JSON"),
        (lambda f: rewrite(f / "agent.json", lambda b: b"[1, 2]"), "does not describe"),
        (lambda f: edit_header(f, lambda h: h.update(format="gpt2")), "does not describe"),
        (lambda f: edit_header(f, lambda h: h.update(version=1)), "agent version 1; this trajtune reads 2: make it"),
        (lambda f: edit_header(f, lambda h: h.update(version=9)), "agent version 9; this trajtune reads 2: update"),
        # An edit that would change a score, by somebody who does not sign it.
        (lambda f: edit_header(f, lambda h: h["briefs"]["7"].update(target_return=1e9)), "does not match its own"),
        (lambda f: edit_header(f, lambda h: h.pop("digest")), "does not match its own"),
        # And signed: still not the agent that it says it is.
        (lambda f: edit_header(f, lambda h: h.pop("spec"), sign=True), "spec"),
        (lambda f: edit_header(f, lambda h: h.update(agent="gpt"), sign=True), "unknown agent 'gpt'"),
        (lambda f: edit_header(f, lambda h: h["spec"].update(depth=3), sign=True), "depth"),
        (lambda f: edit_header(f, lambda h: h["spec"].pop("action_dim"), sign=True), "action_dim"),
        (lambda f: edit_header(f, lambda h: h["spec"].update(layers=3), sign=True), "is missing"),
        (lambda f: edit_header(f, lambda h: h["spec"].update(width=32), sign=True), "expected"),
        (lambda f: edit_header(f, lambda h: h["spec"].update(heads=4), sign=True), "not the agent"),
        (lambda f: edit_header(f, lambda h: h["briefs"].pop("7"), sign=True), ""),
        (lambda f: edit_weights(f, lambda a: a["action_head.bias"].fill(np.nan)), "action_head.bias has a number"),
        (lambda f: edit_weights(f, lambda a: a["observation_std"].fill(np.inf)), "observation_std has a number"),
        (lambda f: edit_weights(f, lambda a: a.update(extra=np.zeros(3))), "extra has no place here"),
        (lambda f: edit_weights(f, lambda a: a.pop("return_scale")), "return_scale is missing"),
    ],
)
def test_damage_is_one_line_that_names_the_file(saved: Path, damage: Callable[[Path], object], says: str) -> None:
    damage(saved)
    if says:
        with pytest.raises(UserError) as caught:
            load_agent(saved)
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)
    else:
        assert load_agent(saved).briefs == {}  # fewer briefs, and nothing wrong about those that are left


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "agent.json").write_text('{"model_type": "gpt2", "n_layer": 12}')
    with pytest.raises(UserError, match="does not describe a trajtune agent"):
        load_agent(tmp_path)


@pytest.mark.parametrize("name", ["agent.json", "agent.safetensors"])
def test_flipped_bytes_never_pass_as_another_agent(tmp_path: Path, name: str) -> None:
    config = replace(SMALL, layers=1, width=4, max_timesteps=4)
    good, bad = tmp_path / "good", tmp_path / "bad"
    save_agent(good, random_agent(config), "point", {7: BRIEF}, {})
    expected = load_agent(good)
    shutil.copytree(good, bad)
    content = (good / name).read_bytes()
    rng = np.random.default_rng(0)
    # The safetensors header is most of what can go wrong in interesting ways.
    header = len(content) if name == "agent.json" else 8 + int.from_bytes(content[:8], "little")
    refused = []
    for place in [*rng.integers(header, size=200), *rng.integers(len(content), size=50), *range(8)]:
        flipped = bytearray(content)
        flipped[place] ^= int(rng.integers(1, 256))
        (bad / name).write_bytes(flipped)
        try:
            found = load_agent(bad)
            assert found.digest == expected.digest and same_brief(found.briefs, expected.briefs)
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 129
    assert [message for message in refused if "\n" in message] == []
