"""Folders that are something else, or damaged: one line that names the file, and nothing written."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.commands import ADAPTER, AGENT, ROOT, copy, evaluate, finetune, merge, pretrain, write_dataset
from tests.cli.conftest import Refuse
from trajtune.artifacts import AGENT as AGENT_KIND
from trajtune.artifacts import DATASET, Kind, finish, signature
from trajtune.artifacts import DELTA as DELTA_KIND
from trajtune.data.store import Dataset
from trajtune.files import read_arrays, write_arrays


def sign(folder: Path, kind: Kind) -> None:
    """Let a folder's header vouch for the files that are beside it now."""
    header = json.loads((folder / kind.header).read_text())
    about = {name: value for name, value in header.items() if name not in ("format", "version", "files", "digest")}
    finish(folder, kind, about, list(header["files"]))


def test_folders_that_are_something_else(
    refuse: Refuse, point_agent_folder: Path, point_data: Dataset, delta: Path, tmp_path: Path
) -> None:
    agent, data, out = point_agent_folder, point_data.path, tmp_path / "out"
    for wrong in (tmp_path / "nothing", data, delta, Path("/dev/null")):
        refuse(finetune(wrong, data, out), wrong, "agent", "agent.json")
        refuse(evaluate(wrong), wrong, "agent", "agent.json")
        refuse(merge(wrong, delta, out), wrong, "agent", "agent.json")
    for wrong in (tmp_path / "nothing", agent, Path("/dev/null")):
        refuse(finetune(agent, wrong, out), wrong, "dataset", "dataset.json")
        refuse(pretrain(wrong, out), wrong, "dataset", "dataset.json")
        refuse(evaluate(agent, "--data", wrong), wrong, "dataset", "dataset.json")
        refuse(evaluate(agent, "--delta", wrong), wrong, "delta", "delta.json")
        refuse(merge(agent, wrong, out), wrong, "delta", "delta.json")
    for wrong in (tmp_path, tmp_path / "nothing", Path("/dev/null")):
        refuse(["inspect", wrong], wrong, "agent.json, delta.json, dataset.json")


def test_what_is_wrong_with_folders_is_found_before_torch_is_imported(tmp_path: Path) -> None:
    for command in (finetune(tmp_path, tmp_path, tmp_path), evaluate(tmp_path), merge(tmp_path, tmp_path, tmp_path)):
        words = [str(word) for word in command]
        code = f"import sys; from trajtune.cli import main; code = main({words}); assert 'torch' not in sys.modules"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "has no agent.json" in done.stderr, done.stderr


def test_data_of_another_suite_or_dimensions(
    refuse: Refuse, point_agent_folder: Path, cheetah_data: Path, tmp_path: Path
) -> None:
    refuse(finetune(point_agent_folder, cheetah_data, tmp_path / "out"), "20 observations and 6 actions")
    same = write_dataset(tmp_path / "data", "cheetah-vel", 2, 2)
    refuse(finetune(point_agent_folder, same, tmp_path / "out"), "suite point, the data is of cheetah-vel")
    long = write_dataset(tmp_path / "long", "point", 2, 2, steps=31)
    refuse(finetune(point_agent_folder, long, tmp_path / "out"), "31 steps")
    refuse(pretrain(long, tmp_path / "out", "--tasks", "all"), long, "31 steps")
    unknown = write_dataset(tmp_path / "unknown", "nonsense", 2, 2)
    refuse(pretrain(unknown, tmp_path / "out"), "unknown suite 'nonsense'")
    wide = write_dataset(tmp_path / "wide", "point", 3, 2)
    wide_data = ["--data", wide, "--trajectories", 5, "--task", 5]
    refuse(evaluate(point_agent_folder, *wide_data), "3 observations and 2 actions")


def test_a_delta_of_another_base(
    refuse: Refuse, delta: Path, point_agent_folder: Path, cheetah_agent: Path, tmp_path: Path
) -> None:
    base = json.loads((delta / "delta.json").read_text())["run"]["base"]
    foreign = f"{delta} belongs to another base: agent {base[:12]}"
    refuse([*evaluate(cheetah_agent, "--delta", delta), "--suite", "point"], foreign)
    refuse(merge(cheetah_agent, delta, tmp_path / "out"), foreign)


def test_data_with_a_number_that_is_not_finite(refuse: Refuse, point_agent_folder: Path, tmp_path: Path) -> None:
    for name in ("observations", "actions", "rewards", "returns_to_go"):
        data = write_dataset(tmp_path / name, "point", 2, 2)
        np.lib.format.open_memmap(data / f"{name}.npy", mode="r+")[7] = np.nan
        sign(data, DATASET)
        few = ["--trajectories", 6]  # all there are
        culprit = f"{data} is damaged"
        refuse(finetune(point_agent_folder, data, tmp_path / "out", "--task", 0, *few), culprit, name)
        refuse(pretrain(data, tmp_path / "out", "--tasks", "all"), culprit, name)
        refuse(evaluate(point_agent_folder, "--data", data, "--task", 0, *few), culprit, name)


def truncated(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def empty(raw: bytes) -> bytes:
    return b""


def corrupted(raw: bytes) -> bytes:
    return raw[:20] + bytes(each ^ 0xFF for each in raw[20:40]) + raw[40:]


def foreign(raw: bytes) -> bytes:
    return (ROOT / "pyproject.toml").read_bytes()


def foreign_json(raw: bytes) -> bytes:
    return b'{"name": "something else", "version": 1, "config": {}, "files": {}}'


def spoil(path: Path, damage: Callable[[bytes], bytes] | None) -> None:
    raw = path.read_bytes()
    path.unlink()
    if damage is not None:
        path.write_bytes(damage(raw))


DAMAGES = [truncated, empty, corrupted, foreign, foreign_json, None]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", AGENT)
def test_damaged_agent(
    refuse: Refuse, point_agent_folder: Path, point_data: Dataset, tmp_path: Path, name: str, damage: Any
) -> None:
    agent = copy(point_agent_folder, tmp_path / "agent")
    spoil(agent / name, damage)
    refuse(evaluate(agent), agent, name)
    refuse(finetune(agent, point_data.path, tmp_path / "out"), agent, name)
    refuse(["inspect", agent], name)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [name for name in ADAPTER if name != "log.jsonl"])  # which nobody reads back
def test_damaged_delta(
    refuse: Refuse, point_agent_folder: Path, delta: Path, tmp_path: Path, name: str, damage: Any
) -> None:
    spoilt = copy(delta, tmp_path / "delta")
    spoil(spoilt / name, damage)
    refuse(evaluate(point_agent_folder, "--delta", spoilt), spoilt, name)
    refuse(merge(point_agent_folder, spoilt, tmp_path / "out"), spoilt, name)
    refuse(["inspect", spoilt], name)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "name",
    ["dataset.json", "index.safetensors", "observations.npy", "actions.npy", "rewards.npy", "returns_to_go.npy"],
)
def test_damaged_dataset(refuse: Refuse, point_agent_folder: Path, tmp_path: Path, name: str, damage: Any) -> None:
    data = write_dataset(tmp_path / "data", "point", 2, 2)
    spoil(data / name, damage)
    refuse(finetune(point_agent_folder, data, tmp_path / "out"), data, name)
    refuse(pretrain(data, tmp_path / "out", "--tasks", "all"), data, name)
    refuse(["inspect", data], name)


def test_files_of_another_of_the_kind(
    refuse: Refuse, point_agent_folder: Path, cheetah_agent: Path, delta: Path, tmp_path: Path
) -> None:
    """Even when a header was made to vouch for them."""
    agent = copy(point_agent_folder, tmp_path / "agent")
    (agent / "agent.safetensors").write_bytes((cheetah_agent / "agent.safetensors").read_bytes())
    refuse(evaluate(agent), agent / "agent.safetensors")
    sign(agent, AGENT_KIND)
    for command in (evaluate(agent), ["inspect", agent]):
        refuse(command, agent)

    spoilt = copy(delta, tmp_path / "delta")
    file = json.loads((delta / "delta.json").read_text())["delta_file"]
    moved = read_arrays(delta / file, "delta")
    write_arrays(spoilt / file, {name: array + np.float32(0.5) for name, array in moved.items()})
    refuse(evaluate(point_agent_folder, "--delta", spoilt), spoilt / file)
    write_arrays(spoilt / file, {name: array[None] for name, array in moved.items()})
    sign(spoilt, DELTA_KIND)
    refuse(evaluate(point_agent_folder, "--delta", spoilt), spoilt)


@pytest.mark.parametrize(
    "edit",
    [
        lambda header: header["briefs"]["5"].update(target_return=0.0),
        lambda header: header["briefs"]["5"]["references"].update(expert=100.0),
        lambda header: header["run"]["recipe"].update(std=0.4),
        lambda header: header["run"]["data"]["setting"].update(trajectories=7),
    ],
)
def test_a_header_that_was_edited(
    refuse: Refuse, point_agent_folder: Path, delta: Path, tmp_path: Path, edit: Callable[[Any], None]
) -> None:
    edited = copy(delta, tmp_path / "delta")
    header = json.loads((edited / "delta.json").read_text())
    edit(header)
    (edited / "delta.json").write_text(json.dumps(header))
    for command in (evaluate(point_agent_folder, "--delta", edited), ["inspect", edited]):
        refuse(command, edited / "delta.json", "damaged or was edited")


def test_a_folder_of_an_older_version(refuse: Refuse, point_agent_folder: Path, tmp_path: Path) -> None:
    old = copy(point_agent_folder, tmp_path / "agent")
    header = json.loads((old / "agent.json").read_text())
    header.pop("digest")
    header["version"] = 1
    (old / "agent.json").write_text(json.dumps({**header, "digest": signature(header)}))
    refuse(evaluate(old), f"{old} has agent version 1; this trajtune reads 2: make it again")
