"""Running a study: the same numbers from any number of workers, killed and continued, and honest about divergence."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from trajtune.study.grid import Method, Setting, Source, Study
from trajtune.study.runner import run_study

from trajtune.agents import SavedAgent
from trajtune.cli import main
from trajtune.data import Dataset
from trajtune.errors import UserError
from trajtune.rollout import evaluate
from trajtune.study.results import Result, read_results
from trajtune.training import TrainConfig, few_shot, finetune

ROOT = Path(__file__).resolve().parents[2]
TRAINING = TrainConfig(steps=4, batch=4, precision="fp32")


@pytest.fixture
def study(point_data: Dataset, point_agent_folder: Path) -> Study:
    """Two tasks, zero-shot and two cells."""
    return Study(
        {"point": Source(point_agent_folder, point_data.path)},
        (Setting("medium", 5),),
        (Method(("sft", "qp-sft"), ("full",), learning_rate=1e-3, options={}),),
        tasks="5,10",
        episodes=3,
        training=TRAINING,
    )


def numbers(results: list[Result]) -> list[Result]:
    """All of the results but how long they took."""
    return [replace(r, finetune_seconds=0.0, evaluate_seconds=0.0) for r in results]


def test_results_are_those_of_the_pieces_alone(
    study: Study, point_agent: SavedAgent, point_data: Dataset, tmp_path: Path
) -> None:
    run_study(study, str(tmp_path / "out"))  # words will do for paths
    results = read_results(tmp_path / "out")
    assert [(r.algorithm, r.tuning, r.task) for r in results] == [
        ("zero-shot", "none", 5),
        ("zero-shot", "none", 10),
        ("sft", "full", 5),
        ("sft", "full", 10),
        ("qp-sft", "full", 5),
        ("qp-sft", "full", 10),
    ]
    data = few_shot(point_data, 10, "medium", 5, 0, 3)
    config = replace(TRAINING, learning_rate=1e-3)
    tuned = finetune(point_agent, data, "qp-sft", "full", config)
    score = evaluate(tuned, "point", 10, data.prompts, 3, precision="fp32")
    assert list(results[-1].returns) == score.returns
    assert results[-1].normalised == score.normalised
    assert results[-1].metrics == tuned.log[-1]
    zero = evaluate(point_agent, "point", 10, data.prompts, 3, precision="fp32")
    assert list(results[1].returns) == zero.returns


def test_the_number_of_workers_changes_nothing(study: Study, tmp_path: Path) -> None:
    for workers in (1, 2):
        run_study(study, tmp_path / str(workers), workers)
    assert numbers(read_results(tmp_path / "1")) == numbers(read_results(tmp_path / "2"))


def test_killed_and_continued_equals_uninterrupted(study: Study, tmp_path: Path) -> None:
    """A real process, killed by SIGKILL when the first results are there."""
    file = tmp_path / "study.yaml"
    file.write_text(json.dumps({**study.to_json(), "training": {"steps": 4, "batch": 4, "precision": "fp32"}}))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "trajtune", "study", str(file), "--out", str(out), "--workers", "1"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(out.rglob("task-*.json"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("task-*.json")}
    assert 2 <= len(before) < 6
    assert main(["study", str(file), "--out", str(out), "--workers", "1"]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    run_study(study, tmp_path / "whole")
    assert numbers(read_results(out)) == numbers(read_results(tmp_path / "whole"))


def test_other_options_in_the_same_folder_are_refused(study: Study, tmp_path: Path) -> None:
    run_study(study, tmp_path)
    for changed, name in (
        (replace(study, episodes=4), "episodes"),
        (replace(study, training=replace(TRAINING, steps=5)), "training"),
        (replace(study, methods=(replace(study.methods[0], std=0.3),)), "std"),
    ):
        with pytest.raises(UserError, match=f"is of another {name}: choose another folder"):
            run_study(changed, tmp_path)


def test_more_cells_join_what_is_there(study: Study, tmp_path: Path) -> None:
    run_study(study, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("task-*.json")}
    run_study(replace(study, methods=(*study.methods, Method(("dpo",), ("full",)))), tmp_path)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(read_results(tmp_path)) == 8


def test_a_cell_that_diverges_is_a_result_and_the_study_goes_on(study: Study, tmp_path: Path) -> None:
    wild = Method(("sft",), ("full",), "wild", learning_rate=1e30)
    run_study(replace(study, methods=(wild, *study.methods), tasks="5"), tmp_path)
    found = {(r.algorithm, r.label): r for r in read_results(tmp_path)}
    assert found["sft", "wild"].diverged is not None
    assert "sft x full diverged at step" in found["sft", "wild"].diverged
    assert found["sft", "wild"].returns == ()
    assert found["sft", "wild"].mean_return is None
    assert len(found["sft", ""].returns) == 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"methods": (Method(("qp-sft",), ("full",), options={"alfa": 1.0}),)}, "unknown option of algorithm qp-sft"),
        ({"methods": (Method(("sft",), ("full",), tuning_options={"rank": 1}),)}, "tuning full has no options"),
        ({"settings": (Setting("medium", 11),)}, "11"),
        ({"settings": (Setting("superb", 5),)}, "superb"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_runs(
    study: Study, tmp_path: Path, changed: dict, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run_study(replace(study, **changed), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_agent_of_another_suite_is_refused(study: Study, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is of suite point, the study names it for cheetah-vel"):
        run_study(replace(study, suites={"cheetah-vel": study.suites["point"]}), tmp_path)


def test_an_error_in_a_worker_ends_the_study_with_its_line(study: Study, tmp_path: Path) -> None:
    """PEFT is asked only where the policy is made."""
    wrong = Method(("sft",), ("adapter",), tuning_options={"method": "NOPE"})
    with pytest.raises(UserError, match="unknown PEFT method 'NOPE'"):
        run_study(replace(study, methods=(wrong,)), tmp_path, workers=2)
    assert multiprocessing.active_children() == []


def test_a_folder_of_something_else_is_left_alone(study: Study, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="already holds something else"):
        run_study(study, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_misplaced_result_is_named(study: Study, tmp_path: Path) -> None:
    small = replace(study, methods=(Method(("sft",), ("full",)),))
    run_study(small, tmp_path)
    cell = next(tmp_path.glob("point/*/sft-full/seed-0"))
    (cell / "task-10.json").write_bytes((cell / "task-5.json").read_bytes())
    with pytest.raises(UserError, match="is of another task"):
        run_study(small, tmp_path)


def test_other_data_or_another_agent_are_seen(study: Study, point_data: Dataset, tmp_path: Path) -> None:
    small = replace(study, methods=(Method(("sft",), ("full",)),), tasks="5")
    run_study(small, tmp_path / "out")
    copy = tmp_path / "data"
    shutil.copytree(point_data.path, copy)
    meta = json.loads((copy / "dataset.json").read_text())
    meta["references"]["5"]["expert"] += 1.0
    (copy / "dataset.json").write_text(json.dumps(meta))
    other = {"point": Source(study.suites["point"].agent, copy)}
    with pytest.raises(UserError, match="is of another data: choose another folder"):
        run_study(replace(small, suites=other), tmp_path / "out")


def test_the_number_of_threads_stays_as_it_was(study: Study, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run_study(replace(study, tasks="5", methods=(Method(("sft",), ("full",)),)), tmp_path)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"version": 1', '"version": 2', "has result version 2; this trajtune reads 1"),
        ('"format": "trajtune-result"', '"format": "other"', "is not a trajtune result"),
        ('"task": 5', '"task": "five"', "is damaged: result.task must be of type int"),
        ('"seed": 0,', "", "is damaged: result needs seed"),
        ('"returns": [', '"returns": [NaN, ', "its returns are not finite numbers"),
        ("{", "", "is not readable as JSON"),
    ],
)
def test_damaged_results_are_named(study: Study, tmp_path: Path, old: str, new: str, message: str) -> None:
    run_study(replace(study, tasks="5", methods=(Method(("sft",), ("full",)),)), tmp_path)
    path = next(tmp_path.glob("point/*/sft-full/seed-0/task-5.json"))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=r"task-5\.json") as error:
        read_results(tmp_path)
    assert message in str(error.value)
