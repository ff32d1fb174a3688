"""Commands by their arguments, and what they print."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trajtune.cli import main
from trajtune.data.writer import DatasetWriter

ROOT = Path(__file__).resolve().parents[2]
Capture = pytest.CaptureFixture[str]
DELTA = ["briefs.safetensors", "delta.json", "delta.safetensors", "log.jsonl"]
ADAPTER = ["adapter_config.json", "adapter_model.safetensors", "briefs.safetensors", "delta.json", "log.jsonl"]
AGENT = ["agent.json", "agent.safetensors", "briefs.safetensors"]


QUICK = ["--set", "critic.monte_carlo=3", "--set", "critic.bootstrapped=3"]
"""Hardly any warm-up for the critic of the default algorithm: most tests of commands need no good one."""


def collect(out: Path, *more: object) -> list[Any]:
    return ["collect", "point", "--out", out, "--tasks", 0, "--trajectories", 2, "--workers", 1, *more]


def pretrain(data: Path, out: Path, *more: object) -> list[Any]:
    sizes = [word for size in ("layers=1", "width=16", "window=4", "prompt=2") for word in ("--set", size)]
    return ["pretrain", "--data", data, "--out", out, "--steps", 4, "--batch", 4, *sizes, *more]


def finetune(agent: Path, data: Path, out: Path, *more: object) -> list[Any]:
    known = ["finetune", "--agent", agent, "--data", data, "--task", 5, "--trajectories", 5, "--out", out]
    quick = [] if {"--algorithm", "--set"} & set(more) else QUICK
    return [*known, "--steps", 20, "--batch", 8, "--precision", "fp32", *quick, *more]


def evaluate(agent: Path, *more: object) -> list[Any]:
    return ["evaluate", "--agent", agent, "--episodes", 3, "--precision", "fp32", *more]


def merge(agent: Path, delta: Path, out: Path) -> list[Any]:
    return ["merge", "--agent", agent, "--delta", delta, "--out", out]


def run(command: list[Any]) -> int:
    return main([str(argument) for argument in command])


def text(capsys: Capture, *command: object) -> str:
    """What a command that succeeds prints; a line of progress may stand on standard error at any time."""
    capsys.readouterr()
    code = run(list(command))
    captured = capsys.readouterr()
    assert code == 0 and "Traceback" not in captured.err, captured.err
    return captured.out


def result(capsys: Capture, *command: object) -> dict[str, Any]:
    """The one JSON object that a command that succeeds prints."""
    out = text(capsys, *command, "--json")
    assert out.count("\n") == 1
    value = json.loads(out)
    assert isinstance(value, dict)
    return value


def one_line(code: int, out: str, err: str, *culprits: object) -> str:
    """What a command says that was refused."""
    assert code == 2, err
    assert "Traceback" not in err and out == "", err
    assert err.endswith("\n")
    last = err.splitlines()[-1]
    assert last.startswith("trajtune: ") and len(last) <= 400, err
    for culprit in culprits:
        assert str(culprit) in last, err
    return last


def shell(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
    command = [sys.executable, "-m", "trajtune", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, text=True, check=False, **options)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Bytes of every file, and the folders."""
    paths = sorted(folder.rglob("*")) if folder.is_dir() else []
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in paths}


def copy(source: Path, target: Path) -> Path:
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def write_dataset(folder: Path, suite: str, states: int, actions: int, steps: int = 12) -> Path:
    """Six trajectories of noise of each of two tasks."""
    rng = np.random.default_rng(0)
    with DatasetWriter(folder, states, actions) as writer:
        for task in (0, 5):
            for seed in range(6):
                arrays = rng.normal(size=(steps, states)), rng.uniform(-1, 1, (steps, actions)), rng.normal(size=steps)
                each = [array.astype(np.float32) for array in arrays]
                writer.add(*each, each[0][-1], task=task, quality=0, seed=seed)
        writer.finish({"suite": suite, "qualities": ["medium"]})
    return folder
