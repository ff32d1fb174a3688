"""Options chosen on held-out training tasks: by a grid, by Optuna, stopped and continued, and never on test tasks."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.study.files import refused, written
from trajtune.artifacts import STUDY, read_header
from trajtune.data.setting import Setting
from trajtune.data.store import Dataset
from trajtune.errors import UserError
from trajtune.study import choosing
from trajtune.study.choosing import CHOICE, LABEL, SELECTION, arms_of, chosen
from trajtune.study.declaration import Method, Source, Study
from trajtune.study.planning import plan
from trajtune.study.reading import load_study
from trajtune.study.runners import run_study
from trajtune.study.selection import Choice, HeldOut, Selection, Space
from trajtune.study.status import status_of
from trajtune.study.stored import read_results
from trajtune.suites import get_suite
from trajtune.training.config import PretrainConfig, TrainConfig
from trajtune.training.pretrain import pretrain

TRAINING = TrainConfig(steps=4, batch=4, precision="fp32", log_every=1)
HELD = (1, 7)


@pytest.fixture(scope="session")
def held_agent(point_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An agent that was pretrained without two of the training tasks."""
    folder: Path = tmp_path_factory.mktemp("held") / "agent"
    config = PretrainConfig(
        options={"layers": 1, "width": 16, "window": 4, "prompt": 2},
        training=TrainConfig(steps=5, batch=4, learning_rate=1e-3, precision="fp32"),
    )
    suite = get_suite("point")
    pretrain(point_data, [task for task in suite.train if task not in HELD], suite.horizon(0), config, folder)
    return folder


@pytest.fixture
def study(point_data: Dataset, held_agent: Path) -> Study:
    """One setting; two learning rates and two options of qp-sft to choose among."""
    quick = {f"critic.{name}": Choice((1,)) for name in ("monte_carlo", "bootstrapped")}
    space = Space(("qp-sft",), ("full",), {"learning_rate": Choice((1e-5, 1e-2)), "alpha": Choice((0.0, 0.5)), **quick})
    return Study(
        {"point": Source(held_agent, point_data.path)},
        (Setting("medium", 3),),
        (Method(("sft",), ("full",)),),
        tasks="5",
        episodes=2,
        points=0,
        training=TRAINING,
        selection=Selection(
            (HeldOut("point", HELD, held_agent, point_data.path),), (space,), seeds=(100, 101), episodes=2
        ),
    )


def test_a_grid(study: Study, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_study(study, out)
    [arm] = arms_of(out)
    tried = [(trial["values"]["learning_rate"], trial["values"]["alpha"]) for trial in arm["trials"]]
    assert tried == [(rate, alpha) for rate in (1e-5, 1e-2) for alpha in (0.0, 0.5)]
    # The best mean over tasks and seeds, from the results themselves.
    results = read_results(out / SELECTION / "point")
    assert {r.run.task for r in results} == set(HELD) and {r.run.seed for r in results} == {100, 101}
    means = []
    for number in range(4):
        found = [r.normalised for r in results if r.label == f"trial-{number}"]
        assert len(found) == 4
        means.append(sum(v for v in found if v is not None) / 4)
        assert arm["trials"][number]["score"] == pytest.approx(means[-1])
    place = means.index(max(means))
    assert arm["values"] == arm["trials"][place]["values"] and arm["score"] == pytest.approx(max(means))
    told = json.loads((out / SELECTION / CHOICE).read_text())
    assert told["runs"] == 4 * 4 + 2 * 4 and told["seconds"] > 0  # trials, and zero-shot by both targets
    # The study has what was chosen beside what it declares.
    final = [(r.run.algorithm, r.label) for r in read_results(out)]
    assert final == [("zero-shot", ""), ("zero-shot", ""), ("sft", ""), ("qp-sft", LABEL)]
    recipe = read_results(out)[-1].run.recipe
    assert recipe is not None
    best = recipe.training.learning_rate, recipe.options["alpha"]
    assert best == (arm["values"]["learning_rate"], arm["values"]["alpha"])
    declared: Any = read_header(out, STUDY)["study"]
    assert declared["selection"] is None and declared["methods"][1]["label"] == LABEL


def test_the_same_call_chooses_nothing_anew(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    run_study(study, out)
    before = {path: path.read_bytes() for path in out.rglob("*.json")}
    monkeypatch.setattr(choosing, "_choose", lambda *_: pytest.fail("it was chosen"))
    run_study(study, out)
    assert {path: path.read_bytes() for path in out.rglob("*.json")} == before
    assert study.selection is not None
    other = replace(study, selection=replace(study.selection, episodes=3))
    with pytest.raises(UserError, match="is of another selection"):
        run_study(other, out)


class StopError(Exception):
    """As a kill would, between two runs."""


@pytest.mark.parametrize("sampler", ["grid", "random", "tpe"])
def test_stopped_and_continued(study: Study, tmp_path: Path, sampler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is stopped, the same call asks for the same trials and chooses the same."""
    monkeypatch.setattr("trajtune.study.sampling.FIRST", 1)
    space = Space(
        ("sft",), ("full",), {"learning_rate": Choice(low=1e-6, high=1e-1, log=True), "std": Choice((0.1, 0.2))}
    )
    if sampler == "grid":
        space = replace(space, options={"learning_rate": Choice((1e-4, 1e-3, 1e-2))})
    assert study.selection is not None
    selection = replace(study.selection, spaces=(space,), sampler=sampler, trials=4)
    study = replace(study, selection=selection)
    run_study(study, tmp_path / "whole")
    [whole] = arms_of(tmp_path / "whole")

    calls = 0

    def stopping(after: int) -> None:
        nonlocal calls
        calls = 0

        def run(each: Study, folder: Path) -> None:
            nonlocal calls
            calls += 1
            if calls > after:
                raise StopError
            run_study(each, folder)

        chosen(study, tmp_path / "parts", run)

    for after in (0, 1, 2, 5):
        try:
            stopping(after)
        except StopError:
            with pytest.raises(UserError, match=r"is choosing options first|it has no study\.json"):
                status_of(tmp_path / "parts")
            continue
        break
    run_study(study, tmp_path / "parts")
    [parts] = arms_of(tmp_path / "parts")
    assert parts == whole
    if sampler != "grid":
        states = [trial["state"] for trial in whole["trials"]]
        assert len(states) == 4 and "complete" in states
        for trial in whole["trials"]:  # a pruned one was judged by its first seed alone
            assert len(trial["scores"]) == (2 if trial["state"] == "pruned" else 4)


def test_a_plan_counts_the_trials(study: Study, tmp_path: Path) -> None:
    found = plan(study, tmp_path / "out")
    assert found.runs == 4 * 4 + 2 * 4 + 2 + 1 + 1  # trials and their zero-shots; zero-shot, sft, and what is chosen
    run_study(study, tmp_path / "out")
    again = plan(study, tmp_path / "out")
    assert (again.runs, again.done) == (4, 4)


def test_a_trial_that_diverges_is_out(study: Study, tmp_path: Path) -> None:
    assert study.selection is not None
    space = Space(("sft",), ("full",), {"learning_rate": Choice((1e-3, 1e30))})
    run_study(replace(study, selection=replace(study.selection, spaces=(space,))), tmp_path / "out")
    [arm] = arms_of(tmp_path / "out")
    assert [trial["state"] for trial in arm["trials"]] == ["complete", "diverged"]
    assert arm["values"] == {"learning_rate": 1e-3}


def test_a_test_task_has_no_place_in_a_selection(held_agent: Path) -> None:
    with pytest.raises(UserError, match="task 5 of point is a test task: nothing is chosen on those"):
        HeldOut("point", (1, 5), held_agent, held_agent)


def test_an_agent_that_knows_the_task_is_refused(
    study: Study, point_agent_folder: Path, point_data: Dataset, tmp_path: Path
) -> None:
    held = HeldOut("point", HELD, point_agent_folder, point_data.path)
    assert study.selection is not None
    with pytest.raises(UserError, match="was pretrained on task 1: options are chosen on tasks new to it"):
        run_study(replace(study, selection=replace(study.selection, held_out=(held,))), tmp_path / "out")
    assert not list(tmp_path.rglob("task-*.json"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "either a grid of values, or low and high"),
        ({"grid": (1,), "low": 0, "high": 1}, "either a grid of values, or low and high"),
        ({"low": 0.0}, "either a grid of values, or low and high"),
        ({"low": 2.0, "high": 1.0}, "low must be below high, got 2.0 and 1.0"),
        ({"low": 0.0, "high": 1.0, "log": True}, "log needs a range of positive numbers"),
        ({"grid": ((1, 2),)}, "values of a grid are numbers, words"),
    ],
)
def test_choices_that_are_none(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Choice(**values)


FILE = """\
suites:
  point: {agent: AGENT, data: DATA}
settings: {quality: medium, trajectories: 3}
methods: {algorithms: sft, tunings: full}
tasks: 5
selection:
  held_out:
    - {suite: point, tasks: [1, 7], agent: AGENT, data: DATA}
  spaces:
    - algorithms: qp-sft
      tunings: full
      options: {alpha: {grid: [0.1, 0.5]}, critic.members: {grid: [2]}}
"""


def test_a_selection_in_a_file(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, FILE))
    assert study.selection is not None
    assert study.selection.spaces[0].options == {"alpha": Choice((0.1, 0.5)), "critic.members": Choice((2,))}
    assert load_study(written(tmp_path, json.dumps(study.to_json()))) == study


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("tasks: [1, 7]", "tasks: [1, 5]", 8, "task 5 of point is a test task"),
        ("tasks: [1, 7]", "tasks: [1, 99]", 8, "suite point has no task 99"),
        ("{alpha:", "{alfa:", 10, "unknown option of algorithm qp-sft 'alfa': did you mean alpha?"),
        ("[0.1, 0.5]", "[0.1, half]", 10, "alpha must be of type float, got 'half'"),
        ("{grid: [0.1, 0.5]}", "{low: 0.1}", 12, "either a grid of values, or low and high"),
        ("{grid: [0.1, 0.5]}", "{low: 0.1, high: 0.5}", 6, "sampler grid needs a grid for alpha"),
        ("tunings: full\n      options", "tunings: ful\n      options", 10, "unknown tuning 'ful'"),
    ],
)
def test_wrong_selections(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    assert f"study.yaml, line {line}" in refused(tmp_path, FILE, old, new, message)
