"""A study's file: the line of what is wrong, grids, what another study gives, and files that are none."""

import json
import time
from pathlib import Path

import pytest

from tests.study.files import refused, written
from trajtune.errors import UserError
from trajtune.study.reading import load_study, spelt

LINES = """\
suites:
  point: {agent: runs/agent, data: data/point}
settings:
  - {quality: medium, trajectories: 5}
  - quality: expert
    trajectories: 2
methods:
  - algorithms: [sft, qp-sft]
    tunings: [full, prompt]
  - algorithms: qp-sft
    tunings: full
    options: {alpha: {grid: [0.1, 1.0]}}
tasks: 5,10
training:
  steps: 7
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("trajectories: 2", "trajectories: 0", 5, "trajectories must be a whole number from 1 on"),  # of the setting
        ("trajectories: 2", "trajectories: two", 6, "study.settings[1].trajectories must be of type int"),
        ("trajectories: 2", "trajectory: 2", 6, "unknown name in study.settings[1] 'trajectory'"),
        ("    tunings: full", "    tunings: fulll", 10, "unknown tuning 'fulll'"),  # of the method
        ("{alpha:", "{alfa:", 10, "unknown option of algorithm qp-sft 'alfa': did you mean alpha?"),
        ("{grid: [0.1, 1.0]}", "{grid: []}", 10, "options.alpha: a grid is a list of at least one value"),
        ("[0.1, 1.0]", "[0.1, ten]", 10, "algorithm qp-sft: alpha must be of type float, got 'ten'"),
        ("tasks: 5,10", "tasks: tset", 13, "'tset' is neither"),
        ("steps: 7", "steps: 7.5", 15, "study.training.steps must be of type int"),
        ("steps: 7", "steps: 0", 14, "steps must be at least 1"),
        ("  point:", "  pint:", 2, "unknown suite 'pint'"),
        ("tasks: 5,10", "tasks: [5,10", 14, "is not readable as YAML"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    assert f"study.yaml, line {line}" in refused(tmp_path, LINES, old, new, message)


def test_a_grid_is_a_method_a_choice(tmp_path: Path) -> None:
    grids = "learning_rate: {grid: [1e-3, 1e-4]}\n    label: own\n    options: {alpha: {grid: [0.1, 1.0]}}"
    study = load_study(written(tmp_path, LINES.replace("options: {alpha: {grid: [0.1, 1.0]}}", grids)))
    told = [(m.label, m.learning_rate, dict(m.options)) for m in study.methods[1:]]
    assert told == [
        ("own-learning_rate=0.001-alpha=0.1", 1e-3, {"alpha": 0.1}),
        ("own-learning_rate=0.001-alpha=1", 1e-3, {"alpha": 1.0}),
        ("own-learning_rate=0.0001-alpha=0.1", 1e-4, {"alpha": 0.1}),
        ("own-learning_rate=0.0001-alpha=1", 1e-4, {"alpha": 1.0}),
    ]
    assert load_study(written(tmp_path, json.dumps(study.to_json()))) == study  # what is saved has no grids left


def test_grids_of_settings(tmp_path: Path) -> None:
    grid = "{quality: {grid: [medium, expert]}, trajectories: {grid: [5, 10]}}"
    study = load_study(written(tmp_path, LINES.replace("{quality: medium, trajectories: 5}", grid)))
    assert [(s.quality, s.trajectories) for s in study.settings] == [
        ("medium", 5),
        ("medium", 10),
        ("expert", 5),
        ("expert", 10),
        ("expert", 2),
    ]


def test_an_error_behind_a_grid_names_its_own_line(tmp_path: Path) -> None:
    grid = "{quality: {grid: [medium, expert]}, trajectories: 5}"
    text = LINES.replace("{quality: medium, trajectories: 5}", grid).replace("trajectories: 2", "trajectories: two")
    with pytest.raises(UserError, match=r"line 6: study\.settings\[2\]\.trajectories"):
        load_study(written(tmp_path, text))


def test_what_another_study_gives(tmp_path: Path) -> None:
    base = written(tmp_path, LINES, "base.yaml")
    study = load_study(written(tmp_path, f"like: {base}\nsettings: [{{quality: random, trajectories: 3}}]\n"))
    assert study.methods == load_study(base).methods
    assert [s.quality for s in study.settings] == ["random"]


@pytest.mark.parametrize("other", ["study.yaml", "[1]"])
def test_a_study_is_not_like_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, f"tasks: all\nlike: {other}\n")
    with pytest.raises(UserError, match=r"study\.yaml, line 2: like must name another study"):
        load_study("study.yaml")


def test_values_in_labels() -> None:
    assert [spelt(each) for each in (0.1, 1e-05, 1e6, 3, True, None, "a b/c", [1, 2])] == [
        "0.1",
        "1e-05",
        "1e06",
        "3",
        "true",
        "null",
        "abc",
        "12",
    ]


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "things, aliases written out"),
        ("seeds: [" + ", ".join(map(str, range(200_000))) + "]\n", "has more than 256 KB"),
        (LINES + "seeds: [" + ", ".join(map(str, range(30_000))) + "]\n", "declares 360000 cells: 100000 is the most"),
        ("a: " + "[" * 5000 + "]" * 5000, "is not readable as YAML"),
        (LINES.replace("[0.1, 1.0]", "[" + ", ".join(["1.0"] * 300) + "]"), "twice: leave one out"),
        ("options: &loop {alpha: *loop}", "is not readable as YAML"),
        ("- 1\n- 2\n", "study must be a mapping"),
        ("", "study must be a mapping"),
    ],
    ids=["bomb", "seeds", "cells", "deep", "grid", "loop", "list", "nothing"],
)
def test_no_study(tmp_path: Path, text: str, message: str) -> None:
    """One line each, and soon: an alias bomb used to hang."""
    path, began = written(tmp_path, text), time.process_time()
    with pytest.raises(UserError) as error:
        load_study(path)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert time.process_time() - began < 60.0  # it is far less; what hangs takes for ever
