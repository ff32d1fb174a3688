"""What a study declares: the cells it makes, and one line for everything that is wrong with it."""

from pathlib import Path

import pytest
from trajtune.study.grid import Method, Setting, Source, Study, load_study

from trajtune.errors import UserError

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
training: {steps: 7, schedule: cosine}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text)
    return path


def test_a_study_is_read_whole(tmp_path: Path) -> None:
    study = load_study(written(tmp_path, GOOD))
    assert study.suites == {"point": Source(Path("runs/agent"), Path("data/point"))}
    assert study.settings == (Setting("medium", 5), Setting("expert", 2, "sparse"))
    assert study.methods[1] == Method(("qp-sft",), ("full",), "alpha=1", 3e-4, options={"alpha": 1.0})
    assert (study.tasks, study.seeds, study.episodes) == ("5,10", (0, 1), 3)
    assert (study.training.steps, study.training.schedule, study.training.batch) == (7, "cosine", 64)


def test_cells_are_all_combinations_with_zero_shot_first(tmp_path: Path) -> None:
    cells = list(load_study(written(tmp_path, GOOD)).cells())
    assert len(cells) == 2 * 2 * (1 + 4 + 1)  # settings x seeds x (zero-shot + two by two + the labelled one)
    assert [str(cell.folder) for cell in cells[:6]] == [
        "point/medium-5-dense/zero-shot-none/seed-0",
        "point/medium-5-dense/sft-full/seed-0",
        "point/medium-5-dense/sft-prompt/seed-0",
        "point/medium-5-dense/qp-sft-full/seed-0",
        "point/medium-5-dense/qp-sft-prompt/seed-0",
        "point/medium-5-dense/qp-sft-full-alpha=1/seed-0",
    ]


def test_all_pairs_are_the_default() -> None:
    study = Study({"point": Source(Path("a"), Path("d"))}, (Setting("medium", 5),))
    study.check()
    assert len(list(study.cells())) == 1 + 7 * 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("episodes: 3", "episode: 3", "unknown name in study 'episode': choose one of suites, settings"),
        ("episodes: 3", "episodes: three", "study.episodes must be of type int, got 'three'"),
        ("episodes: 3", "episodes: true", "study.episodes must be of type int, got True"),
        ("episodes: 3", "episodes: 0", "episodes must be at least 1, got 0"),
        ("trajectories: 5", "trajectories: 0", "trajectories must be at least 1, got 0"),
        ("quality: medium, ", "", "study.settings[0] needs quality"),
        ("reward: sparse", "reward: late", "unknown reward 'late': choose one of dense, sparse"),
        ("[sft, qp-sft]", "[sft, qp-sfd]", "unknown algorithm 'qp-sfd': choose one of sft, dpo"),
        ("[full, prompt]", "[full, lora]", "unknown tuning 'lora': choose one of"),
        ("point:", "pint:", "unknown suite 'pint': choose one of"),
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
            "study.training.schedule 'cosin': choose one of constant, cosine",
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
        ("learning_rate: 3e-4", "std: .inf", "std must be a positive number, got inf"),
        ("steps: 7", "seed: 7", "leave seed out of training"),
        ("steps: 7", "grad_clip: -1", "grad_clip must not be negative, got -1"),
        ("seeds: [0, 1]", "seeds: -1", "seed must be 0 to"),
        ("[full, prompt]", "[]", "a method needs at least one algorithm and one tuning"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(UserError) as error:
        load_study(written(tmp_path, GOOD.replace(old, new)))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert "study.yaml" in str(error.value)


@pytest.mark.parametrize(("tasks", "read"), [("5", "5"), ("[5, 10]", "5,10"), ("train", "train")])
def test_tasks_may_be_numbers(tmp_path: Path, tasks: str, read: str) -> None:
    assert load_study(written(tmp_path, GOOD.replace("tasks: 5,10", f"tasks: {tasks}"))).tasks == read


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no study"):
        load_study(tmp_path / "nothing.yaml")
