"""What users get wrong: one line that names the culprit, exit code 2, no traceback, and nothing written."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trajtune.agents import AgentConfig, initialise, save_agent
from trajtune.cli import main
from trajtune.data import Dataset, DatasetWriter
from trajtune.files import read_arrays, sha256, write_arrays

ROOT = Path(__file__).resolve().parents[2]
Capture = pytest.CaptureFixture[str]
Refuse = Callable[..., str]


def contents(folder: Path) -> dict[str, bytes | None]:
    """Bytes of every file, and the folders."""
    paths = sorted(folder.rglob("*")) if folder.is_dir() else []
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in paths}


def one_line(code: int, out: str, err: str, *culprits: object) -> str:
    assert code == 2, err
    assert "Traceback" not in err and out == ""
    assert err.startswith("trajtune: ") and err.count("\n") == 1 and err.endswith("\n"), err
    for culprit in culprits:
        assert str(culprit) in err, err
    return err


@pytest.fixture
def refuse(capsys: Capture, tmp_path: Path) -> Refuse:
    """Run a command that must be refused: ``refuse(arguments, culprits...)``; ``tmp_path`` must stay as it is."""

    def refuse(arguments: list[Any], *culprits: object) -> str:
        before = contents(tmp_path)
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        err = one_line(code, captured.out, captured.err, *culprits)
        assert contents(tmp_path) == before
        return err

    return refuse


@pytest.fixture(scope="module")
def delta(point_agent_folder: Path, point_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A delta of full tuning: what there is to damage."""
    folder = tmp_path_factory.mktemp("delta") / "point"
    assert main([*map(str, finetune(point_agent_folder, point_data.path, folder))]) == 0
    return folder


@pytest.fixture(scope="module")
def cheetah_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset that says it is of HalfCheetah-Vel."""
    return write_dataset(tmp_path_factory.mktemp("data") / "cheetah", "cheetah-vel", 20, 6)


@pytest.fixture(scope="module")
def cheetah_agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("agent") / "cheetah"
    config = AgentConfig(20, 6, layers=1, width=16, window=6, prompt=3)
    save_agent(folder, initialise(config, 0), {"suite": "cheetah-vel"})
    return folder


def write_dataset(folder: Path, suite: str, states: int, actions: int, steps: int = 12) -> Path:
    rng = np.random.default_rng(0)
    with DatasetWriter(folder, states, actions) as writer:
        for task in (0, 5):
            for seed in range(6):
                arrays = rng.normal(size=(steps, states)), rng.uniform(-1, 1, (steps, actions)), rng.normal(size=steps)
                each = [array.astype(np.float32) for array in arrays]
                writer.add(*each, each[0][-1], task=task, quality=0, seed=seed)
        dims = {"observation_dim": states, "action_dim": actions}
        writer.finish({"suite": suite, **dims, "qualities": ["medium"]})
    return folder


def finetune(agent: Path, data: Path, out: Path, *more: object) -> list[Any]:
    known = ["finetune", "--agent", agent, "--data", data, "--task", 5, "--trajectories", 5, "--out", out]
    return [*known, "--steps", 4, "--batch", 4, "--tuning", "full", "--algorithm", "sft", *more]


def pretrain(data: Path, out: Path, *more: object) -> list[Any]:
    sizes = ["--layers", 1, "--width", 16, "--window", 4, "--prompt", 2]
    return ["pretrain", "--data", data, "--out", out, "--steps", 4, "--batch", 4, *sizes, *more]


def collect(out: Path, *more: object) -> list[Any]:
    return ["collect", "point", "--out", out, "--tasks", 0, "--trajectories", 2, "--workers", 1, *more]


def evaluate(agent: Path, *more: object) -> list[Any]:
    return ["evaluate", "--agent", agent, "--episodes", 1, "--task", 5, *more]


def copy(source: Path, target: Path) -> Path:
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


# Arguments


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        ([], "Expected one of {suites, collect, pretrain, finetune, evaluate, study, report, merge, inspect, demo}"),
        (["nonsense"], "nonsense"),
        (["--nonsense"], "--nonsense"),
        (["suites", "--nonsense"], "--nonsense"),
        (["suites", "point"], "point"),
        (["suites", "--suite", "nonsense"], "unknown suite 'nonsense': choose one of cheetah-vel"),
        (["collect"], "--out"),
        (["collect", "point"], "--out"),
        (["collect", "point", "--out"], "--out"),
        (["collect", "point", "--out", "x", "--trajectories", "many"], "--trajectories"),
        (["collect", "point", "--out", "x", "--experts", "nonsense"], "--experts"),
        (["collect", "point", "--out", "x", "--dtype", "int8"], "--dtype"),
        (["collect", "nonsense", "--out", "x"], "unknown suite 'nonsense': choose one of cheetah-vel"),
        (["pretrain"], "--data"),
        (["pretrain", "--data", "x", "--out", "y", "--steps", "1.5"], "--steps"),
        (["pretrain", "--data", "x", "--out", "y", "--precision", "fp8"], "--precision"),
        (["finetune"], "--agent"),
        (["finetune", "--agent", "x", "--data", "y", "--out", "z"], "--task"),
        (["finetune", "--agent", "x", "--data", "y", "--out", "z", "--task", "one"], "--task"),
        (["evaluate"], "--agent"),
        (["evaluate", "--agent"], "--agent"),
        (["merge"], "--agent"),
        (["merge", "--agent", "x", "--delta", "y"], "--out"),
        (["inspect"], "folder"),
        (["inspect", "x", "y"], "y"),
        (["demo", "--quality", "random"], "--quality"),
    ],
)
def test_arguments(refuse: Refuse, arguments: list[str], culprit: str) -> None:
    line = refuse(arguments, culprit)
    assert "trajtune" in line.removeprefix("trajtune: ") or "unknown suite" in line  # where the help is
    assert not any(mark in line for mark in ("───", "---", "│", "╭"))


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        (["--tasks", "16"], "suite point has no task 16: choose 0 to 15"),
        (["--tasks", "-1"], "suite point has no task -1"),
        (["--tasks", "some"], "'some' is neither all, train, test nor a list"),
        (["--tasks", ""], "'' is neither"),
        (["--quality", "nonsense"], "unknown quality 'nonsense': choose one of expert, medium"),
        (["--quality", "medium,medium"], "quality medium is named twice"),
        (["--trajectories", "0"], "trajectories must be at least 1, got 0"),
        (["--trajectories", "-2"], "trajectories must be at least 1, got -2"),
        (["--seed", "-1"], "seed must be 0 to 4294967295, got -1"),
        (["--seed", str(2**32)], "seed must be 0 to 4294967295"),
        (["--updates", "-1"], "updates must be at least 1"),
        (["--workers", "-1"], "workers must be at least 1"),
    ],
)
def test_collect(refuse: Refuse, tmp_path: Path, options: list[str], culprit: str) -> None:
    refuse(collect(tmp_path / "out", *options), culprit)


def test_collect_without_a_script(refuse: Refuse, tmp_path: Path) -> None:
    command = ["collect", "cheetah-vel", "--experts", "scripted", "--out", tmp_path / "out"]
    refuse(command, "suite cheetah-vel has no scripted expert: choose goal-conditioned or per-task")


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        (["--steps", "0"], "steps must be at least 1, got 0"),
        (["--batch", "0"], "batch must be at least 1, got 0"),
        (["--seed", "-1"], "seed must be 0 to 4294967295, got -1"),
        (["--learning-rate", "-1"], "learning_rate"),
        (["--learning-rate", "nan"], "learning_rate"),
        (["--learning-rate", "inf"], "learning_rate"),
        (["--tasks", "16"], "suite point has no task 16"),
        (["--quality", "nonsense"], "unknown quality 'nonsense': choose one of expert, medium"),
        (["--width", "15", "--heads", "2"], "width (15) must be a multiple of its heads (2)"),
        (["--width", "0"], "width"),
        (["--layers", "-1"], "layers"),
        (["--window", "0"], "window"),
        (["--prompt", "0"], "prompt"),
        (["--prompt", "1000"], "1000"),
        (["--dropout", "1"], "dropout"),
        (["--dropout", "nan"], "dropout"),
        (["--device", "nonsense"], "unknown device 'nonsense': choose auto, cpu or cuda"),
        (["--device", "meta"], "unknown device 'meta': choose auto, cpu or cuda"),
        (["--device", "mps"], "unknown device 'mps'"),
        (["--device", "cpu:7"], "no device 'cpu:7'"),
        (["--device", "cuda:99"], "device"),
        (["--processes", "-1"], "processes must be at least 1"),
        (["--processes", "2", "--seed", "-1"], "seed must be"),
    ],
)
def test_pretrain(refuse: Refuse, point_data: Dataset, tmp_path: Path, options: list[str], culprit: str) -> None:
    refuse(pretrain(point_data.path, tmp_path / "out", *options), culprit)


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        (["--algorithm", "nonsense"], "unknown algorithm 'nonsense': choose one of sft,"),
        (["--tuning", "nonsense"], "unknown tuning 'nonsense': choose one of "),
        (["--quality", "nonsense"], "unknown quality 'nonsense': choose one of expert, medium"),
        (["--task", "16"], "task 16; it has tasks 0-15"),
        (["--task", "-1"], "task -1; it has tasks 0-15"),
        (["--set", "nonsense=1"], "algorithm sft has no options"),
        (["--algorithm", "qp-sft", "--set", "nonsense=1"], "'nonsense': choose one of alpha"),
        (["--algorithm", "qp-sft", "--set", "alpha=high"], "alpha must be like"),
        (["--algorithm", "qp-sft", "--set", "critic_learning_rate=-1.0"], "algorithm qp-sft"),
        (["--set", "nonsense"], "option 'nonsense' is not NAME=VALUE"),
        (["--set-tuning", "nonsense=1"], "tuning full has no options"),
        (["--trajectories", "0"], "0 trajectories asked for, task 5 has 1 to 10"),
        (["--trajectories", "11"], "11 trajectories asked for, task 5 has 1 to 10"),
        (["--steps", "0"], "steps must be at least 1, got 0"),
        (["--batch", "0"], "batch must be at least 1, got 0"),
        (["--seed", "-1"], "seed must be 0 to 4294967295, got -1"),
        (["--learning-rate", "-0.1"], "learning_rate"),
        (["--std", "0"], "std must be a positive number, got 0.0"),
        (["--algorithm", "ppo", "--set", "lam=1.5"], "lam must lie in [0, 1], got 1.5"),
        (["--algorithm", "cql", "--set", "gamma=2"], "gamma must lie in [0, 1], got 2.0"),
        (["--reward", "spares"], "--reward"),
        (["--set", "old_policy_every=0", "--algorithm", "grpo"], "old_policy_every must be at least 1"),
        (["--device", "nonsense"], "unknown device 'nonsense': choose auto, cpu or cuda"),
        (["--device", "meta"], "unknown device 'meta': choose auto, cpu or cuda"),
    ],
)
def test_finetune(
    refuse: Refuse, point_agent_folder: Path, point_data: Dataset, tmp_path: Path, options: list[str], culprit: str
) -> None:
    refuse(finetune(point_agent_folder, point_data.path, tmp_path / "out", *options), culprit)


@pytest.mark.parametrize(
    ("option", "culprit"),
    [
        ("method=NONSENSE", "unknown PEFT method 'NONSENSE'"),
        ('options={"r": 0}', "PEFT method LORA does not take these options"),
        ('options={"nonsense": 1}', "nonsense"),
    ],
)
def test_finetune_with_options_of_peft(
    refuse: Refuse, point_agent_folder: Path, point_data: Dataset, tmp_path: Path, option: str, culprit: str
) -> None:
    command = finetune(point_agent_folder, point_data.path, tmp_path / "out", "--tuning", "adapter")
    refuse([*command, "--set-tuning", option], culprit)


@pytest.mark.parametrize(
    ("options", "culprit"),
    [
        (["--episodes", "0"], "episodes must be at least 1, got 0"),
        (["--seed", "-1"], "seed must be 0 to 4294967295, got -1"),
        (["--task", "16"], "suite point has no task 16"),
        (["--task", "first"], "'first' is neither"),
        (["--suite", "nonsense"], "unknown suite 'nonsense'"),
        (["--suite", "cheetah-vel"], "suite cheetah-vel has 20 and 6"),
        (["--device", "nonsense"], "unknown device 'nonsense'"),
    ],
)
def test_evaluate(refuse: Refuse, point_agent_folder: Path, options: list[str], culprit: str) -> None:
    refuse(evaluate(point_agent_folder, *options), culprit)


def test_evaluate_with_data(
    refuse: Refuse, point_agent_folder: Path, point_data: Dataset, cheetah_data: Path, delta: Path
) -> None:
    command = evaluate(point_agent_folder, "--data", point_data.path)
    refuse(command, "50 trajectories asked for, task 5 has 1 to 10")
    refuse([*command, "--trajectories", 0], "0 trajectories asked for")
    refuse([*command, "--quality", "nonsense"], "unknown quality 'nonsense'")
    refuse(evaluate(point_agent_folder, "--data", cheetah_data), f"{cheetah_data} is of suite cheetah-vel, not point")
    refuse(evaluate(point_agent_folder, "--delta", delta, "--task", 3), f"no prompts of task 3 in {delta}: give --data")


def test_evaluate_an_agent_of_no_suite(refuse: Refuse, tmp_path: Path) -> None:
    save_agent(tmp_path, initialise(AgentConfig(2, 2, layers=1, width=8), 0), {})
    refuse(evaluate(tmp_path), f"{tmp_path} does not say which suite it is of: give --suite")


def merge(agent: Path, delta: Path, out: Path) -> list[Any]:
    return ["merge", "--agent", agent, "--delta", delta, "--out", out]


@pytest.mark.parametrize(
    ("tuning", "why"),
    [
        ("prompt", "a prompt delta cannot be merged: it is input to the agent, not part of its weights"),
        ("decorator", "a decorator delta cannot be merged: it is a second network whose output is added"),
    ],
)
def test_merge_what_is_not_in_the_weights(
    refuse: Refuse, point_agent_folder: Path, point_data: Dataset, tmp_path: Path, tuning: str, why: str
) -> None:
    command = finetune(point_agent_folder, point_data.path, tmp_path / "delta", "--tuning", tuning)
    assert main([str(argument) for argument in command]) == 0
    refuse(merge(point_agent_folder, tmp_path / "delta", tmp_path / "out"), why, "evaluate --delta")


def test_merge(
    refuse: Refuse, point_agent_folder: Path, cheetah_agent: Path, delta: Path, tmp_path: Path, capsys: Capture
) -> None:
    agent, out = point_agent_folder, tmp_path / "out"
    refuse(merge(cheetah_agent, delta, out), f"{delta} belongs to another base")
    refuse(merge(delta, delta, out), delta, "agent", "config.json")
    refuse(merge(agent, agent, out), agent, "delta", "delta.json")
    refuse(merge(agent, delta, agent), f"{agent} already holds another agent: choose another folder")
    refuse(merge(agent, delta, delta), f"{delta} already holds something else: choose another folder")
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    refuse(merge(agent, delta, out), f"{out} already holds something else: choose another folder")
    (tmp_path / "file").write_text("mine")
    refuse(merge(agent, delta, tmp_path / "file" / "below"), tmp_path / "file")
    spoilt = copy(agent, tmp_path / "agent")
    (spoilt / "prompts.json").write_text("[]")
    refuse(merge(spoilt, delta, tmp_path / "other"), "prompts.json")
    assert main([str(each) for each in merge(agent, delta, tmp_path / "merged")]) == 0
    refuse(pretrain(tmp_path / "merged", tmp_path / "merged"), tmp_path / "merged")
    again = merge(tmp_path / "merged", delta, tmp_path / "twice")
    refuse(again, f"{delta} belongs to another base")


# Folders that are something else


def test_folders_that_are_something_else(
    refuse: Refuse, point_agent_folder: Path, point_data: Dataset, delta: Path, tmp_path: Path
) -> None:
    agent, data, out = point_agent_folder, point_data.path, tmp_path / "out"
    for wrong in (tmp_path / "nothing", data, delta, Path("/dev/null")):
        refuse(finetune(wrong, data, out), wrong, "agent", "config.json")
        refuse(evaluate(wrong), wrong, "agent", "config.json")
    for wrong in (tmp_path / "nothing", agent, Path("/dev/null")):
        refuse(finetune(agent, wrong, out), wrong, "dataset", "dataset.json")
        refuse(pretrain(wrong, out), wrong, "dataset", "dataset.json")
        refuse(evaluate(agent, "--data", wrong), wrong, "dataset", "dataset.json")
        refuse(evaluate(agent, "--delta", wrong), wrong, "delta", "delta.json")
    for wrong in (tmp_path, tmp_path / "nothing", Path("/dev/null")):
        refuse(["inspect", wrong], wrong, "config.json, delta.json, dataset.json")


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
    wide_data = ["--data", wide, "--trajectories", 5]
    refuse(evaluate(point_agent_folder, *wide_data), wide, "task 5")


def test_a_delta_of_another_base(refuse: Refuse, delta: Path, cheetah_agent: Path) -> None:
    base = json.loads((delta / "delta.json").read_text())["base"]
    refuse(evaluate(cheetah_agent, "--delta", delta), f"{delta} belongs to another base: agent {base[:12]}")


def test_data_with_a_number_that_is_not_finite(refuse: Refuse, point_agent_folder: Path, tmp_path: Path) -> None:
    for name in ("observations", "actions", "rewards", "returns_to_go"):
        data = write_dataset(tmp_path / name, "point", 2, 2)
        file = data / f"{name}.npy"
        np.lib.format.open_memmap(file, mode="r+")[7] = np.nan
        about = json.loads((data / "dataset.json").read_text())
        about["files"][file.name]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
        (data / "dataset.json").write_text(json.dumps(about))
        culprit = f"{data} is damaged: the data has a non-finite number in {name}"
        few = ["--trajectories", 6]  # all there are
        refuse(finetune(point_agent_folder, data, tmp_path / "out", "--task", 0, *few), culprit)
        refuse(pretrain(data, tmp_path / "out", "--tasks", "all"), culprit)
        refuse(evaluate(point_agent_folder, "--data", data, "--task", 0, *few), culprit)


# Damaged files


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


DAMAGES = [truncated, empty, corrupted, foreign, foreign_json]


@pytest.mark.parametrize("damage", [*DAMAGES, None])
@pytest.mark.parametrize("name", ["config.json", "agent.safetensors", "prompts.json", "prompts.safetensors"])
def test_damaged_agent(
    refuse: Refuse, point_agent_folder: Path, point_data: Dataset, tmp_path: Path, name: str, damage: Any
) -> None:
    agent = copy(point_agent_folder, tmp_path / "agent")
    spoil(agent / name, damage)
    refuse(evaluate(agent), agent, name)
    if not name.startswith("prompts"):  # finetuning and inspecting need no prompts
        refuse(finetune(agent, point_data.path, tmp_path / "out"), agent, name)
        refuse(["inspect", agent], name)


@pytest.mark.parametrize("damage", [*DAMAGES, None])
@pytest.mark.parametrize("name", ["delta.json", "delta.safetensors", "prompts.json", "prompts.safetensors"])
def test_damaged_delta(
    refuse: Refuse, point_agent_folder: Path, delta: Path, tmp_path: Path, name: str, damage: Any
) -> None:
    spoilt = copy(delta, tmp_path / "delta")
    spoil(spoilt / name, damage)
    refuse(evaluate(point_agent_folder, "--delta", spoilt), spoilt, name)
    if not name.startswith("prompts"):
        refuse(["inspect", spoilt], name)


@pytest.mark.parametrize("damage", [*DAMAGES, None])
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


def spoil(path: Path, damage: Callable[[bytes], bytes] | None) -> None:
    raw = path.read_bytes()
    path.unlink()
    if damage is not None:
        path.write_bytes(damage(raw))


def sign(folder: Path) -> None:
    """Let ``prompts.json`` vouch for the arrays beside it."""
    about = json.loads((folder / "prompts.json").read_text())
    digest = sha256(folder / "prompts.safetensors")
    (folder / "prompts.json").write_text(json.dumps({**about, "sha256": digest}))


def test_files_of_another_of_the_kind(
    refuse: Refuse, point_agent_folder: Path, cheetah_agent: Path, delta: Path, tmp_path: Path
) -> None:
    agent = copy(point_agent_folder, tmp_path / "agent")
    (agent / "agent.safetensors").write_bytes((cheetah_agent / "agent.safetensors").read_bytes())
    refuse(evaluate(agent), agent / "agent.safetensors")

    agent = copy(point_agent_folder, tmp_path / "prompted")
    arrays = read_arrays(agent / "prompts.safetensors", "prompts")
    dims = {"observations": 20, "actions": 6}
    wide = {k: np.zeros((*a.shape[:2], dims[k.split(".")[1]]), a.dtype) for k, a in arrays.items() if a.ndim == 3}
    write_arrays(agent / "prompts.safetensors", {**arrays, **wide})
    sign(agent)
    refuse(evaluate(agent), agent, "task 5")
    late = {k: a + 1000 if k.endswith("timesteps") else a for k, a in arrays.items()}
    write_arrays(agent / "prompts.safetensors", late)
    sign(agent)
    refuse(evaluate(agent), agent, "task 5")

    spoilt = copy(delta, tmp_path / "delta")
    moved = read_arrays(delta / "delta.safetensors", "delta")
    write_arrays(spoilt / "delta.safetensors", {name: array + np.float32(0.5) for name, array in moved.items()})
    refuse(evaluate(point_agent_folder, "--delta", spoilt), spoilt / "delta.safetensors")
    write_arrays(spoilt / "delta.safetensors", {name: array[None] for name, array in moved.items()})
    refuse(evaluate(point_agent_folder, "--delta", spoilt), spoilt)


# Output folders


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "delta.safetensors", "adapter_model.safetensors", "sub/file"])
def test_an_output_folder_that_holds_something_else(
    refuse: Refuse, point_agent_folder: Path, point_data: Dataset, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("mine")
    for command in (
        collect(out),
        pretrain(point_data.path, out),
        finetune(point_agent_folder, point_data.path, out),
    ):
        refuse(command, f"{out} already holds something else: choose another folder")


def test_an_output_folder_that_holds_another_result(
    refuse: Refuse, point_agent_folder: Path, point_data: Dataset, delta: Path, tmp_path: Path
) -> None:
    agent, data = copy(point_agent_folder, tmp_path / "agent"), point_data.path
    other = copy(delta, tmp_path / "delta")
    small = write_dataset(tmp_path / "data", "point", 2, 2)
    for out in (agent, other, small):
        refuse(collect(out), out, "already holds")
        refuse(pretrain(data, out), out, "already holds")
        refuse(finetune(agent, data, out, "--seed", 1), out, "already holds")
    refuse(finetune(agent, data, agent), agent, "already holds")
    refuse(pretrain(small, small, "--tasks", "all"), small, "already holds")


@pytest.mark.parametrize("mark", ["unfinished.json", "collect.json", "checkpoint.safetensors"])
def test_an_output_folder_of_another_unfinished_run(
    refuse: Refuse, point_agent_folder: Path, point_data: Dataset, tmp_path: Path, mark: str
) -> None:
    for number, content in enumerate((b'{"seed": 7}', b"", b"[1]")):
        out = tmp_path / str(number)
        out.mkdir()
        (out / mark).write_bytes(content)
        for command in (
            collect(out),
            pretrain(point_data.path, out),
            finetune(point_agent_folder, point_data.path, out),
        ):
            refuse(command, out)


def test_an_output_folder_that_is_none(
    refuse: Refuse, point_agent_folder: Path, point_data: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below", Path("/dev/null"), Path("/proc/nothing")):
        refuse(collect(out), out)
        refuse(pretrain(point_data.path, out), out)
        refuse(finetune(point_agent_folder, point_data.path, out), out)


def test_an_output_folder_without_the_right_to_write(
    refuse: Refuse,
    point_agent_folder: Path,
    point_data: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Simulated, because root may write anywhere."""
    import tempfile

    def denied(*arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tempfile, "mkstemp", denied)
    out = tmp_path / "out"
    out.mkdir()
    refuse(collect(out), out, "Permission denied")
    refuse(pretrain(point_data.path, out), out, "Permission denied")
    refuse(finetune(point_agent_folder, point_data.path, out), out, "Permission denied")


# A full disk


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.geteuid() == 0 and (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False)
    )
    if not mounted or mounted.returncode:
        pytest.skip("only root can mount a small disk; the simulated one is tested below")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk(
    point_agent_folder: Path, point_data: Dataset, tiny_disk: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tiny_disk / "out"
    steps = ["--steps", 101, "--batch", 2]
    commands = {
        "collect": collect(out, "--trajectories", 100),
        "pretrain": pretrain(point_data.path, out, "--width", 64),
        "finetune": finetune(point_agent_folder, point_data.path, out, *steps),
    }
    for name, command in commands.items():
        code = main([str(argument) for argument in command])
        captured = capsys.readouterr()
        one_line(code, captured.out, captured.err, out, "no space left on the disk")
        left = contents(out)
        assert not any(key.startswith(".") for key in left), left
        assert not left.keys() & {"config.json", "delta.json", "dataset.json"}, left
        # With room, the same command goes on.
        subprocess.run(["mount", "-o", "remount,size=64m", tiny_disk], check=True)
        assert main([str(argument) for argument in command]) == 0, name
        capsys.readouterr()
        subprocess.run(["rm", "-r", out], check=True)
        subprocess.run(["mount", "-o", "remount,size=64k", tiny_disk], check=True)


def test_a_disk_that_fills_up_keeps_the_last_checkpoint(
    point_agent_folder: Path,
    point_data: Dataset,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Simulated: the first checkpoint is written, nothing after it is."""
    out = tmp_path / "out"
    command = [str(each) for each in finetune(point_agent_folder, point_data.path, out, "--steps", 201, "--batch", 2)]
    genuine = os.fsync

    def full(*arguments: Any) -> Any:
        if (out / "checkpoint.safetensors").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return genuine(*arguments)

    kept: dict[str, bytes | None] = {}
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for _ in range(2):  # the second time it goes on from the checkpoint, and fails as it did
            capsys.readouterr()
            code = main(command)
            captured = capsys.readouterr()
            one_line(code, captured.out, captured.err, out / "checkpoint.safetensors", "no space left on the disk")
            assert list(contents(out)) == ["checkpoint.safetensors"]
            assert not kept or contents(out) == kept
            kept = contents(out)
    assert main(command) == 0
    assert sorted(contents(out)) == ["delta.json", "delta.safetensors", "prompts.json", "prompts.safetensors"]


def test_a_full_disk_leaves_a_finished_dataset(refuse: Refuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_dataset(tmp_path / "data", "point", 2, 2)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    refuse(collect(data), data, "already holds a dataset")
    (tmp_path / "out").mkdir()
    refuse(collect(tmp_path / "out"), tmp_path / "out", "no space left on the disk")


# Real processes


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["finetune", "--nonsense"], "--nonsense"),
        (["evaluate", "--agent", "/nowhere"], "/nowhere is not an agent"),
        (["collect", "point", "--out", "/dev/null/x", "--tasks", "0"], "/dev/null/x"),
    ],
)
def test_a_real_process(arguments: list[str], culprit: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "trajtune", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    one_line(done.returncode, done.stdout, done.stderr, culprit)


@pytest.mark.parametrize(
    ("command", "culprit"),
    [
        (["study", "nothing.yaml", "--out", "out"], "there is no study nothing.yaml"),
        (["study", "study.yaml", "--out", "out", "--workers", "-1"], "workers must be at least 1"),
        (["study", "study.yaml", "--out", "out"], "none is not a dataset: it has no dataset.json"),
        (["report", "nothing"], "nothing is not a study: it has no study.json"),
        (["report", "nothing", "--baseline", "sft"], "nothing is not a study: it has no study.json"),
    ],
)
def test_study_and_report(
    refuse: Refuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], culprit: str
) -> None:
    (tmp_path / "study.yaml").write_text(
        "suites: {point: {agent: none, data: none}}\nsettings: {quality: medium, trajectories: 5}\n"
    )
    monkeypatch.chdir(tmp_path)
    refuse(command, culprit)
