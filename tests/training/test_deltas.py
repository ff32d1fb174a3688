"""Deltas on disk: what they hold, what plain ``peft`` makes of them, and files that are damaged or edited."""

import copy
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.helpers import few_batch, tuned
from trajtune.agents.saving import SavedAgent
from trajtune.artifacts import signature
from trajtune.data.fewshot import FewShot
from trajtune.errors import UserError
from trajtune.files import sha256
from trajtune.training.config import TrainConfig
from trajtune.training.deltas import load_delta, merge

CONFIG = TrainConfig(steps=6, batch=8, warmup=0, checkpoint_every=2, log_every=1, precision="fp32", learning_rate=5e-3)


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def edit_header(folder: Path, change: Callable[[dict], object], sign: bool = True) -> None:
    """``sign``: as somebody would who knows the format."""
    path = folder / "delta.json"
    values = json.loads(path.read_text())
    change(values)
    if sign:
        values["digest"] = signature({k: v for k, v in values.items() if k != "digest"})
    path.write_text(json.dumps(values))


def edit_recipe(folder: Path, **values: object) -> None:
    edit_header(folder, lambda h: h["run"]["recipe"].update(values))


def edit_delta(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """The header is signed anew: what is wrong has to be found in the tensors themselves."""
    from safetensors.torch import load_file, save_file

    (path,) = (p for p in folder.glob("*.safetensors") if p.name != "briefs.safetensors")
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    entry = {"bytes": path.stat().st_size, "sha256": sha256(path)}
    edit_header(folder, lambda h: h["files"].update({path.name: entry}))


@pytest.fixture(scope="module")
def saved(point_agent: SavedAgent, point_few: FewShot, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One finished delta of each kind."""
    folders = {}
    for tuning in ("full", "adapter", "prompt"):
        folders[tuning] = tmp_path_factory.mktemp("deltas") / tuning
        tuned(point_agent, point_few, "sft", tuning, CONFIG, folder=folders[tuning])
    return folders


def test_full_stores_only_what_moved(point_agent: SavedAgent, saved: dict[str, Path]) -> None:
    from safetensors.numpy import load_file

    names = set(load_file(saved["full"] / "delta.safetensors"))
    agent = {name for name, _ in point_agent.agent.named_parameters()}
    untouched = {name for name in agent if name.startswith(("state_head", "return_head"))}
    assert len(untouched) == 4 and names <= agent
    assert names & untouched == set()
    assert {"action_head.weight", "transformer.blocks.0.mlp.up.weight"} <= names
    header = json.loads((saved["full"] / "delta.json").read_text())
    assert header["bytes"] == sum(a.nbytes for a in load_file(saved["full"] / "delta.safetensors").values())


def test_adapter_is_what_plain_peft_loads(point_agent: SavedAgent, point_few: FewShot, saved: dict[str, Path]) -> None:
    from peft import PeftModel

    batch = few_batch(point_agent, point_few)
    loaded = PeftModel.from_pretrained(copy.deepcopy(point_agent.agent), str(saved["adapter"])).eval()
    ours = load_delta(saved["adapter"], point_agent).policy
    with torch.no_grad():
        # Ours adds the adapter to the weights first: that rounds otherwise.
        torch.testing.assert_close(loaded.base_model.model(batch), ours(batch), rtol=0, atol=1e-5)
        assert (ours(batch) - point_agent.agent(batch)).abs().max() > 1e-3


def test_merging(point_agent: SavedAgent, point_few: FewShot, saved: dict[str, Path]) -> None:
    batch = few_batch(point_agent, point_few)
    for tuning in ("full", "adapter"):
        delta = load_delta(saved[tuning], point_agent)
        with torch.no_grad():
            torch.testing.assert_close(merge(delta)(batch), delta.policy(batch), rtol=0, atol=1e-5)
    with pytest.raises(UserError, match="a prompt delta cannot be merged: it is not part of the agent's weights"):
        merge(load_delta(saved["prompt"], point_agent))
    broken = load_delta(saved["full"], point_agent)
    with torch.no_grad():
        next(iter(broken.policy.trainable().values())).fill_(math.inf)
    with pytest.raises(UserError, match="gives weights that are not finite"):
        merge(broken)


def test_for_another_base(point_agent: SavedAgent, saved: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=f"belongs to another base: agent {point_agent.digest[:12]}, not 00000000"):
        load_delta(saved["full"], replace(point_agent, digest="0" * 64))


def test_finished_folder_of_another_run(point_agent: SavedAgent, point_few: FewShot, saved: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=r"already holds a delta with another recipe\.algorithm, .*: choose another"):
        tuned(point_agent, point_few, "qp-sft", "full", CONFIG, folder=saved["full"])


@pytest.mark.parametrize(
    ("tuning", "damage", "names"),
    [
        ("full", lambda f: (f / "delta.json").unlink(), "delta.json"),
        ("full", lambda f: (f / "delta.safetensors").unlink(), "delta.safetensors"),
        ("adapter", lambda f: (f / "adapter_model.safetensors").unlink(), "adapter_model.safetensors"),
        ("adapter", lambda f: (f / "adapter_config.json").write_text("{}"), "adapter_config.json"),
        ("full", lambda f: (f / "briefs.safetensors").unlink(), "briefs.safetensors"),
        ("full", lambda f: rewrite(f / "delta.json", lambda b: b[:99]), "delta.json"),
        ("full", lambda f: rewrite(f / "delta.json", lambda b: b.replace(b"ne-delta", b"ne-agent")), "delta.json"),
        ("full", lambda f: rewrite(f / "delta.safetensors", lambda b: b[:-1]), "delta.safetensors"),
        ("full", lambda f: rewrite(f / "delta.safetensors", lambda b: b"nonsense"), "delta.safetensors"),
        ("full", lambda f: edit_header(f, lambda h: h.update(version=1)), "delta version 1; this trajtune reads 2"),
        # Edits that would change a score, by somebody who does not sign them.
        ("full", lambda f: edit_header(f, lambda h: brief(h).update(target_return=9.0), sign=False), "own digest"),
        ("full", lambda f: edit_header(f, lambda h: brief(h).update(references={}), sign=False), "own digest"),
        ("adapter", lambda f: edit_header(f, lambda h: options(h).update(r=4), sign=False), "own digest"),
        # And signed: still one line.
        ("full", lambda f: edit_header(f, lambda h: h.pop("run")), "which run made it"),
        ("full", lambda f: edit_header(f, lambda h: brief(h).update(target_return=1e39)), ""),
        ("full", lambda f: edit_header(f, lambda h: brief(h).update(target_return=math.nan)), ""),
        ("full", lambda f: edit_recipe(f, tuning="prefix"), "unknown tuning 'prefix'"),
        ("full", lambda f: edit_recipe(f, tuning=["full"]), "tuning"),
        ("full", lambda f: edit_recipe(f, tuning="adapter"), ""),
        ("full", lambda f: edit_recipe(f, tuning_options=[1]), "tuning_options"),
        ("full", lambda f: edit_recipe(f, std=None), "std"),
        ("full", lambda f: edit_recipe(f, std=math.nan), "std"),
        ("full", lambda f: edit_header(f, lambda h: h["run"]["recipe"]["training"].update(seed=math.inf)), "seed"),
        ("full", lambda f: edit_delta(f, lambda t: t["action_head.bias"].fill_(math.nan)), "not finite"),
        ("full", lambda f: edit_delta(f, lambda t: t.update(extra=torch.zeros(2))), "extra"),
        ("full", lambda f: edit_delta(f, lambda t: t.update({"action_head.bias": torch.zeros(9)})), "(9,)"),
        ("adapter", lambda f: edit_delta(f, lambda t: t.pop(next(iter(t)))), "does not fit"),
        ("adapter", lambda f: edit_delta(f, lambda t: next(iter(t.values())).fill_(math.inf)), "not finite"),
        ("adapter", lambda f: edit_delta(f, lambda t: t.update({n: t[n][:1] for n in list(t)[:1]})), "expected"),
    ],
)
def test_damaged(
    point_agent: SavedAgent,
    saved: dict[str, Path],
    tmp_path: Path,
    tuning: str,
    damage: Callable[[Path], object],
    names: str,
) -> None:
    folder = tmp_path / "delta"
    shutil.copytree(saved[tuning], folder)
    damage(folder)
    with pytest.raises(UserError) as caught:
        load_delta(folder, point_agent)
    assert names in str(caught.value)
    assert "\n" not in str(caught.value)


def brief(header: dict) -> dict:
    return next(iter(header["briefs"].values()))


def options(header: dict) -> dict:
    return header["run"]["recipe"]["tuning_options"]["options"]
