"""What a study declares: the cells it makes, and one line for everything that is wrong with it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.study.files import refused, written
from trajtune.data.setting import Setting
from trajtune.errors import UserError
from trajtune.study.cell import Evaluation
from trajtune.study.declaration import Method, Source, Study
from trajtune.study.reading import load_study

GOOD = """
suites:
  point: {agent: runs/agent, data: data/point}
settings:
  - {quality: medium, trajectories: 5}
  - {quality: expert, trajectories: 2, reward: sparse}
methods:
  - {algorithms: [sft, qp-sft], tunings: [full, prompt]}
  - {algorithms: qp-sft, tunings: full, label: alpha=1, learning_rate: 3e-4, options: {alpha: 1.0}}
tasks: 5,10
seeds: [0, 1]
episodes: 3
points: 1
curve_episodes: 2
deltas: true
training: {steps: 7, schedule: cosine}
"""


def test_a_study_is_read_whole(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, GOOD))
    assert study.suites == {"point": Source(Path("runs/agent"), Path("data/point"))}
    assert study.settings == (Setting("medium", 5), Setting("expert", 2, "sparse"))
    assert study.methods[1] == Method(("qp-sft",), ("full",), "alpha=1", 3e-4, options={"alpha": 1.0})
    assert (study.tasks, study.seeds, study.episodes) == ("5,10", (0, 1), 3)
    assert study.evaluation == Evaluation(episodes=3, points=1, curve_episodes=2)
    assert study.deltas
    assert (study.training.steps, study.training.schedule, study.training.batch) == (7, "cosine", 64)


def test_cells_are_all_combinations_with_zero_shot_first(tmp_path: Path) -> None:
    cells = list(load_study(written(tmp_path, GOOD)).cells())
    assert len(cells) == 2 * 2 * (2 + 4 + 1)  # settings x seeds x (zero-shots + two by two + the labelled one)
    assert [str(cell.folder) for cell in cells[:7]] == [
        "point/medium-5-dense/zero-shot-none/seed-0",
        "point/medium-5-dense-mean/zero-shot-none/seed-0",
        "point/medium-5-dense/sft-full/seed-0",
        "point/medium-5-dense/sft-prompt/seed-0",
        "point/medium-5-dense/qp-sft-full/seed-0",
        "point/medium-5-dense/qp-sft-prompt/seed-0",
        "point/medium-5-dense/qp-sft-full-alpha=1/seed-0",
    ]


def test_all_pairs_are_the_default() -> None:
    study = Study({"point": Source(Path("a"), Path("d"))}, (Setting("medium", 5),))
    study.check()
    assert len(list(study.cells())) == 2 + 9 * 4


def test_zero_shot_is_asked_for_both_once(tmp_path: Path) -> None:
    """And for what a setting says besides; two settings of the same data share them."""
    source = {"point": Source(Path("a"), Path("d"))}
    settings = tuple(Setting("medium", 5, target=each) for each in ("mean", -3.5, "best"))
    cells = list(Study(source, settings, (Method(("sft",), ("full",)),)).cells())
    untuned = [cell.setting.target for cell in cells if cell.recipe is None]
    assert untuned == ["best", "mean", -3.5]
    assert [cell.setting.target for cell in cells if cell.recipe is not None] == ["mean", -3.5, "best"]
    assert len({cell.folder for cell in cells}) == len(cells)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "episodes: 3",
            "episode: 3",
            "unknown name in study 'episode': did you mean episodes? choose one of suites, settings",
        ),
        ("episodes: 3", "episodes: three", "study.episodes must be of type int, got 'three'"),
        ("episodes: 3", "episodes: true", "study.episodes must be of type int, got True"),
        ("episodes: 3", "episodes: 0", "episodes must be at least 1, got 0"),
        ("points: 1", "points: -1", "points must be at least 0, got -1"),
        ("deltas: true", "deltas: 1", "study.deltas must be of type bool, got 1"),
        ("trajectories: 5", "trajectories: 0", "trajectories must be a whole number from 1 on, got 0"),
        ("reward: sparse", "reward: late", "study.settings[1].reward 'late': choose one of dense, sparse"),
        ("[sft, qp-sft]", "[sft, qp-sfd]", "unknown algorithm 'qp-sfd': did you mean qp-sft? choose one of sft, dpo"),
        ("{alpha: 1.0}", "{alfa: 1.0}", "unknown option of algorithm qp-sft 'alfa': did you mean alpha?"),
        ("{alpha: 1.0}", "{alpha: 1.0}, tuning_options: {rank: 1}", "tuning full has no options"),
        ("[full, prompt]", "[full, lora]", "unknown tuning 'lora': "),
        ("point:", "pint:", "unknown suite 'pint': did you mean point?"),
        ("tasks: 5,10", "tasks: tset", "tasks 'tset' is neither all, train, test nor a list"),
        (
            ", label: alpha=1",
            "",
            "qp-sft-full/seed-0 twice: leave one out, or give its method a label",
        ),
        ("label: alpha=1", "label: ../up", "label '../up' becomes part of a folder's name"),
        ("steps: 7", "steps: 0", "steps must be at least 1, got 0"),
        (
            "schedule: cosine",
            "schedule: cosin",
            "study.training.schedule 'cosin': did you mean cosine? choose one of constant, cosine",
        ),
        ("learning_rate: 3e-4", "learning_rate: fast", "study.methods[1].learning_rate must be of type float"),
        ("seeds: [0, 1]", "seeds: []", "at least one suite, one setting, one method and one seed"),
        (
            "{agent: runs/agent, data: data/point}",
            "runs/agent",
            "study.suites.point must be a mapping",
        ),
        ("suites:", "suites: [", "is not readable as YAML"),
        ("episodes: 3", "episodes: !!python/object/apply:os.system [ls]", "is not readable as YAML"),
        ("episodes: 3", "episodes: 3\nepisodes: 4", "episodes is there twice"),
        ("label: alpha=1", "label: 2024-02-30", "is not readable as YAML"),
        ("alpha: 1.0", "alpha: !!bool maybe", "is not readable as YAML"),
        ("alpha: 1.0", "alpha: 2024-01-01", "is not readable as YAML of plain values"),
        ("options: {alpha: 1.0}", "options: &loop {alpha: *loop}", "is not readable as YAML of plain values"),
        ("learning_rate: 3e-4", f"std: {10**400}", "study.methods[1].std is too large a number"),
        ("learning_rate: 3e-4", "std: .inf", "study.methods[1].std must be a finite number, got inf"),
        ("steps: 7", "seed: 7", "leave seed out of training"),
        ("steps: 7", "grad_clip: -1", "grad_clip must not be negative, got -1"),
        ("seeds: [0, 1]", "seeds: -1", "seed must be 0 to"),
        ("[full, prompt]", "[]", "a method needs at least one algorithm and one tuning"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    refused(tmp_path, GOOD, old, new, message)


@pytest.mark.parametrize(("tasks", "read"), [("5", "5"), ("[5, 10]", "5,10"), ("train", "train")])
def test_tasks_may_be_numbers(tmp_path: Path, tasks: str, read: str) -> None:
    assert load_study(written(tmp_path, GOOD.replace("tasks: 5,10", f"tasks: {tasks}"))).tasks == read


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, GOOD))
    assert load_study(written(tmp_path, json.dumps(study.to_json()))) == study


def test_a_cell_decides_its_own_seed_and_rate(tmp_path: Path) -> None:
    cells = list(load_study(written(tmp_path, GOOD)).cells())
    assert cells[0].resolved() is None
    labelled = cells[13].resolved()
    assert labelled is not None
    assert (labelled.training.seed, labelled.training.learning_rate, labelled.options["alpha"]) == (1, 3e-4, 1.0)
    prompt = cells[3].resolved()
    assert prompt is not None
    assert prompt.training.learning_rate == 1e-2  # the tuning's own


def test_nothing_heavy_is_loaded() -> None:
    """What a study declares and what it found can be read in a moment."""
    modules = "trajtune.study.declaration, trajtune.study.results, trajtune.report.cells, trajtune.report.writing"
    heavy = "torch", "gymnasium", "mujoco", "peft", "matplotlib", "scipy"
    code = f"import sys, {modules}; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no study"):
        load_study(tmp_path / "nothing.yaml")
