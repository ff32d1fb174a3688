"""Running a study: the same numbers from any number of workers, killed and continued, whatever its runs do."""

import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest
import torch

from tests.helpers import quick
from trajtune.agents.saving import SavedAgent, load_agent
from trajtune.artifacts import DATASET, finish
from trajtune.data.fewshot import few_shot
from trajtune.data.setting import Setting
from trajtune.data.store import Dataset
from trajtune.errors import UserError
from trajtune.report.cells import summarise
from trajtune.rollout.score import evaluate
from trajtune.study.declaration import Method, Source, Study
from trajtune.study.results import Result
from trajtune.study.runners import run_study
from trajtune.study.runners.local import apart
from trajtune.study.stored import pack, read_results
from trajtune.training.config import PretrainConfig, Recipe, TrainConfig
from trajtune.training.deltas import load_delta
from trajtune.training.finetune import finetune
from trajtune.training.pretrain import pretrain

ROOT = Path(__file__).resolve().parents[2]
TRAINING = TrainConfig(steps=4, batch=4, precision="fp32", log_every=1)
SCRIPT = """
import sys
from trajtune.study.reading import load_study
from trajtune.study.runners import run_study

if __name__ == "__main__":
    run_study(load_study(sys.argv[1]), sys.argv[2], workers=int(sys.argv[3]))
"""


def numbers(results: list[Result]) -> list[Result]:
    """All of the results but how long they took."""
    return [replace(r, finetune_seconds=0.0, evaluate_seconds=0.0) for r in results]


def files_of(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in out.rglob("task-*.json")}


def test_workers_have_different_few_shot_sets_at_a_time() -> None:
    @dataclass
    class Some:
        few_shot: str

    @dataclass
    class Job:
        run: Some
        name: str

    jobs = [Job(Some(name[0]), name) for name in ("a1", "a2", "a3", "b1", "b2", "c1")]
    assert [job.name for job in apart(jobs, 0)] == ["a1", "a2", "a3", "b1", "b2", "c1"]
    assert [job.name for job in apart(jobs, 2)] == ["a1", "b1", "a2", "b2", "a3", "c1"]
    assert [job.name for job in apart(jobs, 8)] == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_results_are_those_of_the_pieces_alone(
    study: Study, point_agent: SavedAgent, point_data: Dataset, tmp_path: Path
) -> None:
    run_study(study, str(tmp_path / "out"))  # words will do for paths
    results = read_results(tmp_path / "out")
    assert [(r.run.algorithm, r.run.tuning, r.run.task) for r in results] == [
        ("zero-shot", "none", 5),
        ("zero-shot", "none", 5),
        ("zero-shot", "none", 10),
        ("zero-shot", "none", 10),
        ("sft", "full", 5),
        ("sft", "full", 10),
        ("qp-sft", "full", 5),
        ("qp-sft", "full", 10),
    ]
    few = few_shot(point_data, 10, Setting("medium", 5), 0, 3)
    tuned = finetune(
        point_agent, few, Recipe("qp-sft", "full", quick("qp-sft"), training=replace(TRAINING, learning_rate=1e-3))
    )
    score = evaluate(tuned, "point", 10, few.brief, 3, precision="fp32")
    assert list(results[-1].returns) == score.returns
    assert results[-1].normalised == score.normalised
    logged = {name: value for name, value in tuned.log[-1].items() if name != "step"}
    assert results[-1].metrics == {**logged, **tuned.facts}
    for result in results[2:4]:
        asked = few_shot(point_data, 10, result.run.setting, 0, 3).brief
        assert list(result.returns) == evaluate(point_agent, "point", 10, asked, 3, precision="fp32").returns
    assert [r.run.setting.target for r in results[2:4]] == ["best", "mean"]
    assert multiprocessing.active_children() == []


def test_the_number_of_workers_changes_nothing(study: Study, tmp_path: Path) -> None:
    for workers in (0, 1, 2):
        run_study(study, tmp_path / str(workers), workers)
    alone = numbers(read_results(tmp_path / "0"))
    assert numbers(read_results(tmp_path / "1")) == alone
    assert numbers(read_results(tmp_path / "2")) == alone


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_and_continued_equals_uninterrupted(study: Study, tmp_path: Path, workers: int) -> None:
    """A real process, killed by SIGKILL when the first results are there."""
    file, script, out = tmp_path / "study.yaml", tmp_path / "script.py", tmp_path / "out"
    file.write_text(json.dumps(study.to_json()))
    script.write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), str(file), str(out), str(workers)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while len(files_of(out)) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=300)  # ends with the last process that holds standard error: its workers, too
    before = files_of(out)
    assert len(before) >= 2
    run_study(study, out)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    run_study(study, tmp_path / "whole")
    assert numbers(read_results(out)) == numbers(read_results(tmp_path / "whole"))


def test_a_run_that_kills_its_worker_does_not_end_the_study(study: Study, deadly: str, tmp_path: Path) -> None:
    """Out of memory looks the same: SIGKILL in the middle of training. Once is made good, always is recorded."""
    once, always = tmp_path / "once", tmp_path / "always"
    method = replace(study.methods[0], algorithms=(deadly,))
    hurt = (
        replace(method, label="once", options={"how": "once", "mark": str(once)}),
        replace(method, label="always", options={"how": "always", "mark": str(always)}),
    )
    run_study(replace(study, methods=(*hurt, *study.methods), tasks="5"), tmp_path / "out", workers=2)
    found = {(r.run.algorithm, r.label): r for r in read_results(tmp_path / "out")}
    assert found[deadly, "always"].failed == "a worker process died of SIGKILL (killed, or out of memory)"
    assert found[deadly, "always"].returns == ()
    assert always.read_text() == "xxx"  # begun three times
    assert once.read_text() == "x"
    assert found[deadly, "once"].returns == found["sft", ""].returns
    assert all(found[key].scored for key in found if key != (deadly, "always"))
    assert multiprocessing.active_children() == []
    # The same command tries again what failed, and nothing else.
    before = files_of(tmp_path / "out")
    mended = replace(study, methods=(*hurt, *study.methods), tasks="5")
    run_study(mended, tmp_path / "out", workers=1)
    after = files_of(tmp_path / "out")
    assert [path.parts[-3] for path in before if before[path] != after[path]] == ["deadly-full-always"]


@pytest.mark.parametrize(("workers", "times"), [(0, "x"), (1, "xxx")])
def test_a_bug_in_a_run_is_recorded(study: Study, deadly: str, tmp_path: Path, workers: int, times: str) -> None:
    mark = tmp_path / "mark"
    wrong = replace(study.methods[0], algorithms=(deadly,), options={"how": "raise", "mark": str(mark)})
    run_study(replace(study, methods=(wrong, *study.methods), tasks="5"), tmp_path / "out", workers)
    found = {r.run.algorithm: r for r in read_results(tmp_path / "out")}
    assert found[deadly].failed == "RuntimeError: a bug"
    assert mark.read_text() == times
    assert found["qp-sft"].scored


def test_what_only_a_run_finds_out_is_recorded_in_its_words(study: Study, tmp_path: Path) -> None:
    """PEFT is asked only where the policy is made."""
    wrong = Method(("sft",), ("adapter",), tuning_options={"method": "NOPE"})
    run_study(replace(study, methods=(wrong,), tasks="5"), tmp_path, workers=1)
    failed = read_results(tmp_path)[-1].failed
    assert failed is not None
    assert failed.startswith("unknown PEFT method 'NOPE'")


def test_other_options_in_the_same_folder_are_refused(study: Study, tmp_path: Path) -> None:
    run_study(study, tmp_path)
    for changed, name in (
        (replace(study, episodes=4), "evaluation.episodes"),
        (replace(study, points=2), "evaluation.points"),
        (replace(study, training=replace(TRAINING, steps=5)), "recipe.training.steps"),
        (replace(study, methods=(replace(study.methods[0], std=0.3),)), "recipe.std"),
    ):
        with pytest.raises(UserError, match=f"is of another {name}: choose another folder"):
            run_study(changed, tmp_path)


def test_two_agents_of_one_suite_are_told_apart(
    study: Study, point_data: Dataset, point_agent_folder: Path, tmp_path: Path
) -> None:
    """Each is compared with its own zero-shot; under the suite's own name nothing changes."""
    other = tmp_path / "other"
    training = TrainConfig(steps=3, learning_rate=1e-3, checkpoint_every=3, precision="fp32")
    options = {"layers": 1, "width": 16, "window": 6, "prompt": 3}
    pretrain(point_data, [0, 1], 30, PretrainConfig(options=options, training=training), other)
    both = replace(
        study,
        suites={"small": Source(other, point_data.path, "point"), "point": Source(point_agent_folder, point_data.path)},
        tasks="5",
    )
    run_study(both, tmp_path / "both")
    results = read_results(tmp_path / "both")
    assert {(r.group, r.run.suite) for r in results} == {("small", "point"), ("point", "point")}
    assert len({r.run.agent for r in results if r.group == "small"}) == 1
    found = {c.group: c for c in summarise(results)}
    assert {c.suite for c in found.values()} == {"point"}
    assert list(found) == ["small", "point"]
    run_study(replace(study, tasks="5"), tmp_path / "alone")
    (alone,) = summarise(read_results(tmp_path / "alone"))
    assert [c.score for c in found["point"].cells] == [c.score for c in alone.cells]
    assert found["small"].zero_shot.score != alone.zero_shot.score  # type: ignore[union-attr]
    assert {path.name for path in (tmp_path / "both").iterdir()} == {"point", "point@small", "study.json"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("small/x", "'small/x' becomes part of a folder's name"),
        ("", "'' cannot stand for point: choose a name that is no suite's"),
        ("ant-dir", "'ant-dir' cannot stand for point"),
    ],
)
def test_names_that_no_agent_can_have(study: Study, name: str, message: str) -> None:
    source = replace(study.suites["point"], suite="point")
    with pytest.raises(UserError, match=re.escape(message)):
        replace(study, suites={name: source}).check()


@pytest.mark.parametrize("name", ["critics", "leases", "study.json", "..", "selection"])
def test_names_that_are_in_nobodys_way(study: Study, tmp_path: Path, name: str) -> None:
    source = replace(study.suites["point"], suite="point")
    small = replace(study, suites={name: source}, methods=(Method(("sft",), ("full",)),), tasks="5")
    run_study(small, tmp_path / "out")
    assert {r.group for r in read_results(tmp_path / "out")} == {name}
    assert pack(tmp_path / "out", tmp_path / "pack") == 3


def test_a_name_without_a_suite_says_what_is_missing(study: Study) -> None:
    with pytest.raises(UserError, match=r"unknown suite 'large'.*a name of your own says suite: SUITE"):
        replace(study, suites={"large": study.suites["point"]}).check()


def test_more_cells_join_what_is_there(study: Study, tmp_path: Path) -> None:
    run_study(study, tmp_path)
    before = files_of(tmp_path)
    run_study(replace(study, methods=(*study.methods, Method(("dpo",), ("full",)))), tmp_path)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(read_results(tmp_path)) == 10


def test_a_cell_that_diverges_is_a_result_and_the_study_goes_on(study: Study, tmp_path: Path) -> None:
    wild = Method(("sft",), ("full",), "wild", learning_rate=1e30)
    run_study(replace(study, methods=(wild, *study.methods), tasks="5"), tmp_path)
    found = {(r.run.algorithm, r.label): r for r in read_results(tmp_path)}
    assert found["sft", "wild"].diverged is not None
    assert "sft x full diverged at step" in found["sft", "wild"].diverged
    assert found["sft", "wild"].returns == ()
    assert found["sft", "wild"].mean_return is None
    assert len(found["sft", ""].returns) == 3


def test_deltas_are_kept_on_request(study: Study, point_agent_folder: Path, tmp_path: Path) -> None:
    kept = replace(study, deltas=True, tasks="5", methods=(Method(("sft",), ("prompt",)),))
    run_study(kept, tmp_path)
    assert [path.parent.parent.name for path in tmp_path.rglob("delta.json")] == ["seed-0"]
    base = load_agent(point_agent_folder)
    saved = load_delta(next(tmp_path.rglob("delta.json")).parent, base)
    result = read_results(tmp_path)[-1]
    assert list(result.returns) == evaluate(saved, "point", 5, episodes=3, precision="fp32").returns
    assert asdict(saved.recipe) == asdict(result.run)["recipe"]


def test_the_number_of_threads_stays_as_it_was(study: Study, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run_study(replace(study, tasks="5", methods=(Method(("sft",), ("full",)),)), tmp_path)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


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
    header = json.loads((copy / "dataset.json").read_text())
    header["references"]["5"]["expert"] += 1.0
    files = list(header["files"])
    about = {k: v for k, v in header.items() if k not in ("format", "version", "files", "digest")}
    finish(copy, DATASET, about, files)
    other = {"point": Source(study.suites["point"].agent, copy)}
    with pytest.raises(UserError, match="is of another data: choose another folder"):
        run_study(replace(small, suites=other), tmp_path / "out")


def test_a_failure_is_not_repeated_by_a_driver_that_was_there(study: Study, tmp_path: Path) -> None:
    """What another driver has tried since this one began is accounted for; the next call tries it again."""
    from trajtune.study.driving import prepare
    from trajtune.study.jobs import accounted, do, give_up

    jobs, missing = prepare(study, tmp_path)
    job = missing[-1]
    give_up(job, RuntimeError("a bug"))  # as another driver's
    assert accounted(job)
    result = do(job)
    assert result is not None and result.failed == "RuntimeError: a bug"
    _, again = prepare(study, tmp_path)
    assert len(again) == len(jobs) and not accounted(again[-1])


def test_workers_are_not_negative(study: Study, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="workers must not be negative, got -1"):
        run_study(study, tmp_path / "out", -1)


def test_both_zero_shots_come_first_on_every_task(study: Study, tmp_path: Path) -> None:
    """So that what is unfinished is compared with the better of them."""
    from trajtune.study.driving import prepare

    jobs, _ = prepare(study, tmp_path)
    told = [(job.run.task, job.run.algorithm, job.run.setting.target) for job in jobs]
    each = [("zero-shot", "best"), ("zero-shot", "mean"), ("sft", "best"), ("qp-sft", "best")]
    assert told == [(task, *cell) for task in (5, 10) for cell in each]
