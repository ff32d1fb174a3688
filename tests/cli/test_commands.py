"""The commands, from data to scores, on the point suite."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from trajtune.rollout.evaluate import episode_seed
from trajtune.tunings.saving import SavedDelta, load_delta

from trajtune.agents import AgentConfig, initialise, load_agent, save_agent
from trajtune.cli import main
from trajtune.data import Dataset
from trajtune.suites import SUITES, Suite, get_suite
from trajtune.tunings import TUNINGS
from trajtune.types import Batch, Window

ROOT = Path(__file__).resolve().parents[2]

COMMANDS = ("suites", "collect", "pretrain", "finetune", "evaluate", "study", "report", "merge", "inspect", "demo")

Capture = pytest.CaptureFixture[str]


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of change of every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def text(capsys: Capture, *arguments: object) -> str:
    """What a command that succeeds prints."""
    assert main([str(argument) for argument in arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def result(capsys: Capture, *arguments: object) -> dict[str, Any]:
    """The one JSON object that a command that succeeds prints."""
    out = text(capsys, *arguments, "--json")
    assert out.count("\n") == 1
    value = json.loads(out)
    assert isinstance(value, dict)
    return value


def shell(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trajtune", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, text=True, check=False, **options)


@pytest.fixture(scope="module")
def delta(point_agent_folder: Path, point_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What finetuning task 5 left."""
    folder = tmp_path_factory.mktemp("delta") / "point"
    assert main(finetune(point_agent_folder, point_data.path, folder)) == 0
    return folder


def finetune(agent: Path, data: Path, out: Path, *more: object) -> list[str]:
    known = ["finetune", "--agent", agent, "--data", data, "--task", 5, "--trajectories", 5, "--out", out]
    return [str(each) for each in (*known, "--steps", 20, "--batch", 8, "--precision", "fp32", *more)]


def evaluate(agent: Path, *more: object) -> list[str]:
    return [str(each) for each in ("evaluate", "--agent", agent, "--episodes", 3, "--precision", "fp32", *more)]


# Sparse rewards


def test_sparse_rewards(capsys: Capture, point_agent_folder: Path, point_data: Dataset, tmp_path: Path) -> None:
    """The delta says so, and its prompts ask for the whole return throughout; scores are of the real reward."""
    result(capsys, *finetune(point_agent_folder, point_data.path, tmp_path / "out", "--reward", "sparse"))
    about = json.loads((tmp_path / "out" / "delta.json").read_text())
    assert about["reward"] == "sparse"
    assert json.loads((tmp_path / "out" / "prompts.json").read_text())["tasks"]["5"]["delayed"] is True
    score = result(capsys, *evaluate(point_agent_folder, "--delta", tmp_path / "out"))
    low, high = point_data.references(5)["random"], point_data.references(5)["expert"]
    assert low - 20 < score["scores"][0]["mean_return"] < high + 1


# Help


def test_help_loads_nothing_heavy() -> None:
    code = """
import sys
from trajtune.cli import main
try:
    main(["--help"])
except SystemExit as stop:
    assert not stop.code, stop.code
else:
    raise AssertionError("help did not exit")
heavy = {"torch", "mujoco", "gymnasium", "numpy", "scipy", "peft", "transformers"} & sys.modules.keys()
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for command in COMMANDS:
        assert command in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(command: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert not stop.value.code
    captured = capsys.readouterr()
    assert f"usage: trajtune {command}" in captured.out and captured.err == ""


# Suites


def test_suites(capsys: Capture) -> None:
    table = text(capsys, "suites")
    assert all(f" {name} " in table for name in SUITES)
    listing = result(capsys, "suites")
    assert list(listing) == list(SUITES)
    for name, entry in listing.items():
        suite = get_suite(name)
        assert entry["train"] == list(suite.train) and entry["test"] == list(suite.test)
        assert (entry["observation_dim"], entry["action_dim"]) == (suite.observation_dim, suite.action_dim)
        assert len(entry["tasks"]) == len(suite.tasks)


def test_tasks_of_a_suite(capsys: Capture) -> None:
    table = text(capsys, "suites", "--suite", "point")
    rows = [line.split()[0] for line in table.splitlines() if line.split() and line.split()[0].isdigit()]
    assert rows == [str(task) for task in range(16)]
    listing = result(capsys, "suites", "--suite", "point")
    assert list(listing) == ["point"] and [t["task"] for t in listing["point"]["tasks"]] == list(range(16))


# The whole way


def test_from_data_to_scores(tmp_path: Path, capsys: Capture) -> None:
    data, agent, delta = tmp_path / "data", tmp_path / "agent", tmp_path / "delta"
    sizes = ["--layers", 1, "--width", 16, "--window", 4, "--prompt", 2]
    commands: dict[str, list[Any]] = {
        "collect": ["collect", "point", "--out", data, "--tasks", "0,1,5", "--trajectories", 3, "--workers", 1],
        "pretrain": ["pretrain", "--data", data, "--out", agent, "--steps", 12, "--batch", 4, *sizes],
        "finetune": finetune(agent, data, delta, "--trajectories", 3, "--tuning", "full"),
    }
    first = {name: result(capsys, *command) for name, command in commands.items()}
    assert first["collect"]["trajectories"] == 18 and set(first["collect"]["qualities"]) == {"expert", "medium"}
    assert first["collect"]["qualities"]["expert"]["normalised"] == [1.0] * 3
    assert first["pretrain"]["tasks"] == [0, 1] and first["pretrain"]["log"][-1]["step"] == 12
    assert first["finetune"]["out"] == str(delta) and first["finetune"]["log"][-1]["step"] == 20
    assert sorted(path.name for path in agent.iterdir()) == [
        "agent.safetensors",
        "config.json",
        "prompts.json",
        "prompts.safetensors",
    ]

    before = contents(tmp_path)
    for name, command in commands.items():
        start = time.monotonic()
        assert result(capsys, *command) == first[name]
        assert time.monotonic() - start < 5.0
        assert text(capsys, *command)  # and for people
    assert contents(tmp_path) == before

    scores = result(capsys, *evaluate(agent, "--delta", delta))
    assert [score["task"] for score in scores["scores"]] == [5]
    assert contents(tmp_path) == before


def test_the_same_command_after_saving_was_cut_short(
    point_agent_folder: Path, point_data: Dataset, delta: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Killed while the delta was written: some files are there, and half of one."""
    command = finetune(point_agent_folder, point_data.path, tmp_path / "out")
    result(capsys, *command)
    run = json.loads((tmp_path / "out" / "delta.json").read_text())
    (tmp_path / "out" / "delta.json").unlink()
    known = ("format", "version", "bytes", "digest", "log")
    (tmp_path / "out" / "unfinished.json").write_text(json.dumps({k: v for k, v in run.items() if k not in known}))
    (tmp_path / "out" / ".delta.json.abcd1234").write_text("{")
    result(capsys, *command)
    after = contents(tmp_path / "out")
    assert {name: raw for name, (raw, _) in after.items()} == {n: raw for n, (raw, _) in contents(delta).items()}

    (tmp_path / "out" / "checkpoint.safetensors").write_bytes(b"killed before it could be removed")
    result(capsys, *command)
    assert contents(tmp_path / "out") == after


# Evaluate


def test_evaluate_an_agent(point_agent_folder: Path, point_data: Dataset, capsys: Capture) -> None:
    command = evaluate(point_agent_folder, "--task", "0,5")
    first = result(capsys, *command)
    assert result(capsys, *command) == first
    assert [score["task"] for score in first["scores"]] == [0, 5]
    assert all(len(score["returns"]) == 3 and score["suite"] == "point" for score in first["scores"])
    assert result(capsys, *command, "--seed", 1) != first
    with_data = result(capsys, *command, "--data", point_data.path, "--trajectories", 5)
    assert [score["task"] for score in with_data["scores"]] == [0, 5]
    table = text(capsys, *command)
    assert "mean return" in table and "2 tasks, 3 episodes each" in table


def test_evaluate_a_delta(point_agent_folder: Path, point_data: Dataset, delta: Path, capsys: Capture) -> None:
    command = evaluate(point_agent_folder, "--delta", delta)
    first = result(capsys, *command)
    assert result(capsys, *command) == first
    assert [score["task"] for score in first["scores"]] == [5]
    assert first["scores"][0]["returns"] != result(capsys, *evaluate(point_agent_folder))["scores"][0]["returns"]
    few = ["--data", point_data.path, "--trajectories", 5]
    assert result(capsys, *command, *few) == first  # the delta carries the same prompts
    assert result(capsys, *command, *few, "--task", "3")["scores"][0]["task"] == 3


def test_evaluate_prints_the_same_in_another_process(point_agent_folder: Path, delta: Path, capsys: Capture) -> None:
    command = [*evaluate(point_agent_folder, "--delta", delta), "--json"]
    done = shell(*command, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == text(capsys, *command)


@pytest.mark.parametrize("tuning", TUNINGS)
def test_evaluate_acts_as_the_policy_that_was_trained(
    point_agent_folder: Path, point_data: Dataset, tmp_path: Path, tuning: str, capsys: Capture
) -> None:
    """One episode after the other through the policy's own forward pass, nothing cached, merged or taken out of it."""
    many = ["--tuning", tuning, "--steps", 30, "--learning-rate", 0.01]
    result(capsys, *finetune(point_agent_folder, point_data.path, tmp_path / "delta", *many))
    (score,) = result(capsys, *evaluate(point_agent_folder, "--delta", tmp_path / "delta"))["scores"]
    saved, suite = load_delta(tmp_path / "delta", load_agent(point_agent_folder)), get_suite("point")
    slow = [one_episode(saved, suite, episode) for episode in range(3)]
    assert score["returns"] == pytest.approx(slow, abs=1e-3)
    assert slow != pytest.approx(result(capsys, *evaluate(point_agent_folder))["scores"][0]["returns"], abs=1e-2)


@torch.no_grad()
def one_episode(saved: SavedDelta, suite: Suite, episode: int) -> float:
    """Return the return of an episode of task 5; a window is built anew at every step."""
    entry, length = saved.prompts[5], 6
    env = suite.make(suite.task(5))
    observation, _ = env.reset(seed=episode_seed(0, 5, episode))
    seen, asked, done, total = [], [], [np.zeros(2, np.float32)], 0.0
    for t in range(suite.horizon):
        seen.append(np.asarray(observation, np.float32))
        asked.append(entry.target_return - total)
        last = slice(max(0, t + 1 - length), t + 1)
        steps = torch.arange(t + 1)[None, last]
        window = Window(
            returns_to_go=torch.tensor([asked[last]], dtype=torch.float32),
            observations=torch.from_numpy(np.stack(seen[last]))[None],
            actions=torch.from_numpy(np.stack(done[last]))[None],
            rewards=torch.zeros(steps.shape),
            timesteps=steps,
            terminals=torch.zeros(steps.shape, dtype=torch.bool),
            mask=torch.ones(steps.shape, dtype=torch.bool),
            index=steps,
        )
        done[-1] = saved.policy(Batch(entry.prompts[episode : episode + 1], window))[0, -1].numpy()
        observation, reward, *_ = env.step(done[-1])
        total += reward
        done.append(np.zeros(2, np.float32))
    return total


# Merge


@pytest.mark.parametrize(
    "more",
    [
        ["--tuning", "full"],
        ["--tuning", "adapter"],
        ["--tuning", "adapter", "--set-tuning", 'options={"use_dora": true}'],
        ["--tuning", "adapter", "--set-tuning", "method=IA3"],
    ],
    ids=["full", "LoRA", "DoRA", "IA3"],
)
def test_merge(
    point_agent_folder: Path, point_data: Dataset, tmp_path: Path, more: list[object], capsys: Capture
) -> None:
    base, delta, merged = point_agent_folder, tmp_path / "delta", tmp_path / "merged"
    result(capsys, *finetune(base, point_data.path, delta, "--learning-rate", 0.01, *more))
    command = ["merge", "--agent", base, "--delta", delta, "--out", merged]
    first = result(capsys, *command)
    assert sorted(path.name for path in merged.iterdir()) == [
        "agent.safetensors",
        "config.json",
        "prompts.json",
        "prompts.safetensors",
    ]
    tuned = result(capsys, *evaluate(base, "--delta", delta))["scores"][0]
    alone = result(capsys, *evaluate(merged, "--task", 5))["scores"][0]
    assert alone.pop("returns") == pytest.approx(tuned.pop("returns"), abs=1e-3)
    assert alone["target_return"] == tuned["target_return"]
    zero = result(capsys, *evaluate(base, "--task", 5))["scores"][0]
    assert abs(alone["mean_return"] - zero["mean_return"]) > 1e-2
    assert len(result(capsys, *evaluate(merged))["scores"]) == len(get_suite("point").test)  # prompts of the others

    about = result(capsys, "inspect", merged)
    assert about["kind"] == "agent" and about["digest"] == first["digest"]
    origin, meta = about["provenance"], json.loads((delta / "delta.json").read_text())
    assert origin["suite"] == "point" and origin["base"]["tasks"] == list(get_suite("point").train)
    assert origin["merged"]["base"] == result(capsys, "inspect", base)["digest"]
    for key in ("digest", "algorithm", "tuning", "tuning_options", "task", "training", "seed"):
        assert origin["merged"][key] == meta[key]

    before = contents(merged)
    assert result(capsys, *command) == first and contents(merged) == before
    assert "is merged" in text(capsys, *command)
    result(capsys, *finetune(merged, point_data.path, tmp_path / "again", "--task", 9))  # it is an agent like any other


def test_merge_goes_on_where_it_was_killed(
    point_agent_folder: Path, delta: Path, tmp_path: Path, capsys: Capture
) -> None:
    command = ["merge", "--agent", point_agent_folder, "--delta", delta, "--out", tmp_path / "out"]
    origin = result(capsys, *command)["provenance"]
    whole = {name: raw for name, (raw, _) in contents(tmp_path / "out").items()}
    (tmp_path / "out" / "config.json").unlink()
    (tmp_path / "out" / "prompts.json").unlink()
    (tmp_path / "out" / "unfinished.json").write_text(json.dumps(origin))
    result(capsys, *command)
    assert {name: raw for name, (raw, _) in contents(tmp_path / "out").items()} == whole


# Inspect


@pytest.mark.parametrize(("tuning", "numbers"), [("prompt", 3 * (1 + 2 + 2)), ("decorator", 132_866)])
def test_inspect_small_deltas(
    point_agent_folder: Path, point_data: Dataset, tmp_path: Path, tuning: str, numbers: int, capsys: Capture
) -> None:
    made = result(capsys, *finetune(point_agent_folder, point_data.path, tmp_path / "delta", "--tuning", tuning))
    of_delta = result(capsys, "inspect", tmp_path / "delta")
    assert of_delta["numbers"] == made["numbers"] == numbers
    assert f"qp-sft x {tuning}: {numbers:,} numbers" in text(capsys, "inspect", tmp_path / "delta")


def test_inspect(point_agent_folder: Path, point_data: Dataset, delta: Path, capsys: Capture) -> None:
    agent = result(capsys, "inspect", point_agent_folder)
    assert agent["kind"] == "agent" and agent["config"]["width"] == 32 and agent["provenance"]["suite"] == "point"
    assert agent["tensors"]["action_head.weight"] == [2, 32]
    of_delta = result(capsys, "inspect", delta)
    assert of_delta["kind"] == "delta" and of_delta["numbers"] == agent["sizes"]["adapter"]
    assert of_delta["metadata"]["base"] == agent["digest"]
    data = result(capsys, "inspect", point_data.path)
    assert data["kind"] == "dataset" and data["metadata"]["trajectories"] == 320

    assert agent["digest"] in text(capsys, "inspect", point_agent_folder)
    assert "qp-sft x adapter" in text(capsys, "inspect", delta)
    assert "320 trajectories" in text(capsys, "inspect", point_data.path)


def test_inspect_prints_the_sizes_of_the_paper(tmp_path: Path, capsys: Capture) -> None:
    save_agent(tmp_path, initialise(AgentConfig(27, 8), 0), {})
    table = text(capsys, "inspect", tmp_path)
    sizes = {"full": "2.52 MB", "adapter": "0.19 MB", "decorator": "0.54 MB", "prompt": "0.76 KB"}
    for tuning, size in sizes.items():
        rows = [line.split() for line in table.splitlines() if line.split()[:1] == [tuning]]
        assert rows[-1][-2:] == size.split()


# Processes that end early


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_killed_and_started_again_equals_uninterrupted(
    point_agent_folder: Path, point_data: Dataset, tmp_path: Path, capsys: Capture
) -> None:
    steps = ["--steps", 300, "--batch", 2, "--tuning", "full"]
    command = finetune(point_agent_folder, point_data.path, tmp_path / "killed", *steps)
    checkpoint = tmp_path / "killed" / "checkpoint.safetensors"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen([sys.executable, "-m", "trajtune", *command], cwd=ROOT, env=environment)
    give_up = time.monotonic() + 120
    while not checkpoint.exists() and child.poll() is None and time.monotonic() < give_up:
        time.sleep(0.005)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    assert checkpoint.exists() and not (tmp_path / "killed" / "delta.json").exists()
    done = shell(*command, capture_output=True)
    assert done.returncode == 0, done.stderr
    result(capsys, *finetune(point_agent_folder, point_data.path, tmp_path / "whole", *steps))
    killed, whole = contents(tmp_path / "killed"), contents(tmp_path / "whole")
    assert set(killed) == {"delta.json", "delta.safetensors", "prompts.json", "prompts.safetensors"}
    assert {name: raw for name, (raw, _) in killed.items()} == {name: raw for name, (raw, _) in whole.items()}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_output_that_cannot_be_written() -> None:
    with open("/dev/full", "w") as full:
        done = shell("suites", "--json", stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2 and done.stderr == "trajtune: No space left on device\n"


@pytest.mark.skipif(os.name != "posix", reason="needs a pipe without a reader")
def test_a_reader_that_has_left() -> None:
    read, write = os.pipe()
    os.close(read)
    done = shell("suites", "--suite", "point", stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert done.returncode == 1 and done.stderr == ""
