"""The commands, from data to scores, on the point suite."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.cli.commands import (
    ADAPTER,
    AGENT,
    Capture,
    collect,
    contents,
    evaluate,
    finetune,
    merge,
    pretrain,
    result,
    run,
    shell,
    text,
)
from tests.test_loggers import scalars
from trajtune.agents.saving import initialise, load_agent, save_agent
from trajtune.cli.pretrain import smoothed, verdict
from trajtune.data.store import Dataset
from trajtune.files import read_json
from trajtune.rollout.score import episode_seed
from trajtune.suites import SUITES, get_suite
from trajtune.suites.base import Suite
from trajtune.training.deltas import SavedDelta, load_delta
from trajtune.tunings import TUNINGS
from trajtune.types import Batch, Window


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


# What is asked for


def test_a_target_is_asked_for(point_agent_folder: Path, point_data: Dataset, capsys: Capture) -> None:
    def asked(*more: object) -> float:
        found = result(capsys, *evaluate(point_agent_folder, "--task", 5, *more))
        return float(found["scores"][0]["target_return"])

    data = ("--data", point_data.path, "--quality", "medium", "--trajectories", 5)
    best, mean = asked(*data), asked(*data, "--target", "mean")
    returns = point_data.select([5], "medium", 5, 0).returns
    assert (best, mean) == (pytest.approx(returns.max()), pytest.approx(returns.mean()))
    assert asked(*data, "--target", "-3.5") == -3.5
    assert asked(*data, "--target", "expert") == pytest.approx(point_data.references(5)["expert"])
    carried = ("--task", 0)  # a task of pretraining, whose brief the agent carries
    assert asked(*carried, "--target", "-3.5") == -3.5
    assert run(evaluate(point_agent_folder, *carried, "--target", "mean")) == 2
    assert "say which, with --data" in capsys.readouterr().err


def test_what_a_critic_is_worth_is_shown(
    point_agent_folder: Path, point_data: Dataset, tmp_path: Path, capsys: Capture
) -> None:
    short = ("--set", "critic.monte_carlo=20", "--set", "critic.bootstrapped=20", "--set", "trust=false")
    more = finetune(point_agent_folder, point_data.path, tmp_path / "delta", "--quality", "medium", *short)
    found = result(capsys, *more)
    told, notes = found["facts"], found["notes"]
    assert notes == []
    assert {"critic_error", "critic_rank"} <= set(told)
    assert f"{told['critic_error']:.3g}"[:4] in text(capsys, *more)
    shown = text(capsys, "inspect", tmp_path / "delta")
    assert "facts.critic_error" in shown and "facts.critic_rank" in shown


# The whole way


def test_from_data_to_scores(tmp_path: Path, capsys: Capture) -> None:
    data, agent, delta = tmp_path / "data", tmp_path / "agent", tmp_path / "delta"
    commands: dict[str, list[Any]] = {
        "collect": collect(data, "--tasks", "0,1,5", "--trajectories", 3),
        "pretrain": pretrain(data, agent, "--steps", 12),
        "finetune": finetune(agent, data, delta, "--trajectories", 3),
    }
    first = {name: result(capsys, *command) for name, command in commands.items()}
    assert first["collect"]["trajectories"] == 18 and set(first["collect"]["qualities"]) == {"expert", "medium"}
    assert first["collect"]["qualities"]["expert"]["normalised"] == [1.0] * 3
    assert first["pretrain"]["tasks"] == [0, 1] and first["pretrain"]["log"][-1]["step"] == 12
    assert first["finetune"]["out"] == str(delta) and first["finetune"]["log"][-1]["step"] == 20
    assert sorted(contents(agent)) == AGENT and sorted(contents(delta)) == ADAPTER

    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for name, command in commands.items():
        assert result(capsys, *command) == first[name]
        assert text(capsys, *command)  # and for people
    scores = result(capsys, *evaluate(agent, "--delta", delta))
    assert [score["task"] for score in scores["scores"]] == [5]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_pretrain_says_whether_it_learned(point_data: Dataset, tmp_path: Path, capsys: Capture) -> None:
    """One batch says little: it is the means of the first and last entries that are compared."""
    assert smoothed([4.0, 2.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 1.0, 3.0]) == (3.0, 2.0)
    assert smoothed([2.0]) == (2.0, 2.0)
    assert "logged once" in verdict(1, 0.5, 0.5) and "did not fall" not in verdict(9, 0.5, 0.4)
    assert "it did not fall" in verdict(9, 0.79, 0.80) and "it did not fall" in verdict(9, 0.5, 0.5)
    steps = ["--steps", 3, "--log-every", 1]
    still = text(capsys, *pretrain(point_data.path, tmp_path / "still", *steps, "--learning-rate", 0))
    assert "action error" in still
    log = result(capsys, *pretrain(point_data.path, tmp_path / "still", *steps, "--learning-rate", 0))
    assert ("it did not fall" in still) == (log["action_error"]["last"] >= log["action_error"]["first"])
    fast = pretrain(point_data.path, tmp_path / "fast", "--steps", 100, "--learning-rate", 0.01, "--warmup", 5)
    assert "it did not fall" not in text(capsys, *fast)


def test_sparse_rewards(capsys: Capture, point_agent_folder: Path, point_data: Dataset, tmp_path: Path) -> None:
    """The delta says so, and its brief asks for the whole return throughout; scores are of the real reward."""
    out = tmp_path / "out"
    result(capsys, *finetune(point_agent_folder, point_data.path, out, "--reward", "sparse"))
    about = json.loads((out / "delta.json").read_text())
    assert about["run"]["data"]["setting"]["reward"] == "sparse" and about["briefs"]["5"]["delayed"] is True
    score = result(capsys, *evaluate(point_agent_folder, "--delta", out))
    low, high = point_data.references(5)["random"], point_data.references(5)["expert"]
    assert low - 20 < score["scores"][0]["mean_return"] < high + 1
    few = ["--data", point_data.path, "--trajectories", 5]
    assert result(capsys, *evaluate(point_agent_folder, "--delta", out), *few) == score  # its reward, not the default


def test_the_same_command_after_saving_was_cut_short(
    point_agent_folder: Path, point_data: Dataset, delta: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Killed while the delta was written: some files are there, and half of one."""
    out = tmp_path / "out"
    command = finetune(point_agent_folder, point_data.path, out)
    result(capsys, *command)
    run = read_json(out / "delta.json", "delta")["run"]
    (out / "delta.json").unlink()
    (out / "unfinished.json").write_text(json.dumps({"kind": "delta", "run": run}))
    (out / ".delta.json.abcd1234").write_text("{")
    result(capsys, *command)
    assert contents(out) == contents(delta)

    (out / "unfinished.json").write_text(json.dumps({"kind": "delta", "run": run}))
    (out / "checkpoint.safetensors").write_bytes(b"killed before it could be removed")
    result(capsys, *command)
    assert contents(out) == contents(delta)


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
    zero = result(capsys, *evaluate(point_agent_folder, "--task", 5))["scores"][0]["returns"]
    assert first["scores"][0]["returns"] != zero
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
    returns = [episode_return(saved, suite, 5, seed) for seed in range(3)]
    assert score["returns"] == pytest.approx(returns, abs=1e-3)


@torch.no_grad()
def episode_return(saved: SavedDelta, suite: Suite, task: int, episode: int) -> float:
    env, brief = suite.make(suite.task(task)), saved.briefs[task]
    assert brief.prompts is not None
    observation = env.reset(seed=episode_seed(0, task, episode))[0]
    rows: list[tuple[float, Any]] = []
    done: list[Any] = []
    total = 0.0
    for t in range(suite.horizon(task)):
        rows.append((brief.target_return - total, observation))
        start = max(0, t + 1 - saved.policy.spec.window)
        rtg, states = zip(*rows[start:], strict=True)
        k = len(rtg)
        actions = np.array([*done[start:], np.zeros(2)], np.float32)
        ones = torch.ones(1, k, dtype=torch.bool)
        window = Window(
            returns_to_go=torch.tensor([rtg]),
            observations=torch.from_numpy(np.array(states, np.float32))[None],
            actions=torch.from_numpy(actions)[None],
            rewards=torch.zeros(1, k),
            timesteps=torch.arange(start, t + 1)[None],
            terminals=~ones,
            mask=ones,
            present=ones,
            index=torch.zeros(1, k, dtype=torch.int64),
        )
        batch = Batch(brief.prompts[episode : episode + 1], window)
        done.append(saved.policy(saved.policy.prepare(batch))[0, -1].numpy())
        observation, reward, *_ = env.step(done[-1])
        total += reward
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
    command = merge(base, delta, merged)
    first = result(capsys, *command)
    assert sorted(contents(merged)) == AGENT
    tuned = result(capsys, *evaluate(base, "--delta", delta))["scores"][0]
    alone = result(capsys, *evaluate(merged, "--task", 5))["scores"][0]
    assert alone["returns"] == pytest.approx(tuned["returns"], abs=1e-3)
    assert alone["target_return"] == tuned["target_return"]
    zero = result(capsys, *evaluate(base, "--task", 5))["scores"][0]
    assert abs(alone["mean_return"] - zero["mean_return"]) > 1e-2
    assert len(result(capsys, *evaluate(merged))["scores"]) == len(get_suite("point").test)  # briefs of the others

    about = result(capsys, "inspect", merged)
    header, made = about["header"], read_json(delta / "delta.json", "delta")
    assert about["kind"] == "agent" and about["identity"] == first["digest"] and header["suite"] == "point"
    assert header["run"] == {"merged": made["digest"], **made["run"]} == first["run"]
    assert header["base_run"]["tasks"] == list(get_suite("point").train)

    before = contents(merged)
    assert result(capsys, *command) == first and contents(merged) == before
    assert "is merged" in text(capsys, *command)
    result(capsys, *finetune(merged, point_data.path, tmp_path / "again", "--task", 9))  # it is an agent like any other


def test_merge_goes_on_where_it_was_killed(
    point_agent_folder: Path, delta: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "out"
    command = merge(point_agent_folder, delta, out)
    run = result(capsys, *command)["run"]
    whole = contents(out)
    (out / "agent.json").unlink()
    (out / "briefs.safetensors").unlink()
    (out / "unfinished.json").write_text(json.dumps({"kind": "agent", "run": run}))
    result(capsys, *command)
    assert contents(out) == whole


# Inspect


@pytest.mark.parametrize(("tuning", "numbers"), [("prompt", 3 * (1 + 2 + 2)), ("decorator", 132_866)])
def test_inspect_small_deltas(
    point_agent_folder: Path, point_data: Dataset, tmp_path: Path, tuning: str, numbers: int, capsys: Capture
) -> None:
    made = result(capsys, *finetune(point_agent_folder, point_data.path, tmp_path / "delta", "--tuning", tuning))
    of_delta = result(capsys, "inspect", tmp_path / "delta")
    assert of_delta["numbers"] == made["numbers"] == numbers
    assert f"ppo x {tuning}: {numbers:,} numbers" in text(capsys, "inspect", tmp_path / "delta")


def test_inspect(point_agent_folder: Path, point_data: Dataset, delta: Path, capsys: Capture) -> None:
    agent = result(capsys, "inspect", point_agent_folder)
    assert agent["kind"] == "agent" and agent["config"]["width"] == 32 and agent["header"]["suite"] == "point"
    assert agent["tensors"]["action_head.weight"] == [2, 32]
    of_delta = result(capsys, "inspect", delta)
    assert of_delta["kind"] == "delta" and of_delta["numbers"] == agent["sizes"]["adapter"]
    assert of_delta["header"]["run"]["base"] == agent["identity"]
    data = result(capsys, "inspect", point_data.path)
    assert data["kind"] == "dataset" and data["trajectories"] == 320
    assert data["tasks"]["5"]["qualities"]["medium"]["trajectories"] == 10

    for folder, about in ((point_agent_folder, agent), (delta, of_delta), (point_data.path, data)):
        assert about["digest"] in text(capsys, "inspect", folder)
    assert "ppo x adapter" in text(capsys, "inspect", delta)
    assert "320 trajectories" in text(capsys, "inspect", point_data.path)


def test_inspect_cuts_nothing_off(
    point_agent_folder: Path, point_data: Dataset, tmp_path: Path, capsys: Capture
) -> None:
    options = {"target_modules": ["attention.qkv", "attention.out", "mlp.up", "mlp.down"], "lora_alpha": 123456}
    more = ["--set-tuning", f"options={json.dumps(options)}"]
    result(capsys, *finetune(point_agent_folder, point_data.path, tmp_path / "delta", *more))
    shown = text(capsys, "inspect", tmp_path / "delta")
    assert "123456" in shown and all(module in shown for module in options["target_modules"]) and "..." not in shown


def test_inspect_prints_the_sizes_of_the_paper(tmp_path: Path, capsys: Capture) -> None:
    """But for the prompt's 0.76 KB, which counts reward, timestep and mask too: they cannot move (FACTS section 1)."""
    sizes = {"observation_dim": 27, "action_dim": 8, "max_timesteps": 200}
    save_agent(tmp_path, initialise("prompt-dt", sizes, 0), None, {}, {})
    table = text(capsys, "inspect", tmp_path)
    for tuning, size in {"full": "2.52 MB", "adapter": "0.19 MB", "decorator": "0.54 MB", "prompt": "0.70 KB"}.items():
        rows = [line.split() for line in table.splitlines() if line.split()[:1] == [tuning]]
        assert rows[-1][-2:] == size.split()


def test_what_training_logs_goes_where_one_watches(
    point_agent_folder: Path, point_data: Dataset, tmp_path: Path, capsys: Capture
) -> None:
    """Beside the delta in any case, and to every logger that is asked for."""
    out = tmp_path / "out"
    command = finetune(point_agent_folder, point_data.path, out, "--algorithm", "sft", "--tuning", "full")
    log = result(capsys, *command, "--log", "tensorboard", "--log", "jsonl")["log"]
    wanted = [(row["step"], row["loss"]) for row in log]
    assert len(wanted) > 1
    for path in (out / "log.jsonl", tmp_path / "out-logs" / "out.jsonl"):
        head, *rows = map(json.loads, path.read_text().splitlines())
        assert head["config"]["algorithm"] == "sft"
        assert [(row["step"], row["loss"]) for row in rows] == wanted
    assert scalars(tmp_path / "out-logs" / "out")["loss"] == [(step, pytest.approx(loss)) for step, loss in wanted]
