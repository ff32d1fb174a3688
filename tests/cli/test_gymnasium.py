"""Any environment of Gymnasium, by its id, from recording to a study, without a line of code."""

import json
from pathlib import Path

import pytest

from trajtune.cli import main

STUDY = """
suites:
  "gym:Pendulum-v1": {agent: agent, data: data}
settings:
  - {quality: random, trajectories: 3}
methods:
  - {algorithms: sft, tunings: full}
  - {algorithms: qp-sft, tunings: full, options: {critic.monte_carlo: 3, critic.bootstrapped: 3}}
episodes: 1
training: {steps: 2, batch: 4, precision: fp32}
"""
COMMANDS = (
    "collect gym:Pendulum-v1 --experts random --quality random --trajectories 4 --workers 1 --out data",
    "pretrain --data data --quality random --tasks all --steps 2 --batch 4 --set layers=1 --set width=16 --out agent",
    "finetune --agent agent --data data --task 0 --quality random --trajectories 3 --steps 2 --batch 4 --out delta "
    "--set critic.monte_carlo=3 --set critic.bootstrapped=3",
    "evaluate --agent agent --delta delta --episodes 2 --json",
    "study study.yaml --out study --workers 1 --json",
)


def test_from_recording_to_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(STUDY)
    said = {}
    for command in COMMANDS:
        assert main(command.split()) == 0, capsys.readouterr().err
        said[command.split()[0]] = capsys.readouterr().out
    (score,) = json.loads(said["evaluate"])["scores"]
    assert len(score["returns"]) == 2 and score["normalised"] is None  # no expert: nothing to compare with
    assert score["lengths"] == [200, 200] and score["mean_return"] < 0
    (comparison,) = json.loads(said["study"])["comparisons"]
    assert comparison["suite"] == "gym:Pendulum-v1" and len(comparison["cells"]) == 2
