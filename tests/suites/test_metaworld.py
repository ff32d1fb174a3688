"""What the suites of Meta-World are without the package: tables, views, and the lines that ask for it."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from trajtune.cli import main
from trajtune.errors import UserError
from trajtune.experts.collect import collect
from trajtune.experts.config import CollectConfig
from trajtune.experts.sources import sources_of
from trajtune.suites import get_suite
from trajtune.suites.metaworld import NAMES
from trajtune.suites.metaworld_env import REWARD, VERSION, require_metaworld

ALL = ["metaworld-ml45", "metaworld-ml1-pick-place", "metaworld-mt50"]


def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("trajtune.suites.metaworld_env.metadata.version", version)


def test_the_version_and_the_reward_are_those_of_the_plan() -> None:
    assert (VERSION, REWARD) == ("3.1.1", "v2")
    root = Path(__file__).resolve().parents[2]
    assert f"metaworld=={VERSION}\n" in (root / "constraints.txt").read_text()
    assert f'"metaworld=={VERSION}' in (root / "pyproject.toml").read_text()


def test_ml45_holds_out_five_kinds() -> None:
    suite = get_suite("metaworld-ml45")
    assert (len(suite.train), len(suite.test), suite.longest, suite.metric) == (45, 5, 200, "return")
    held_out = ["bin-picking-v3", "box-close-v3", "hand-insert-v3", "door-lock-v3", "door-unlock-v3"]
    assert [suite.task(t).name for t in suite.test] == held_out
    assert set(suite.train).isdisjoint(suite.test) and suite.has_success
    assert len(set(NAMES)) == 50 and all(name.endswith("-v3") for name in NAMES)


def test_mt50_has_the_same_tasks_under_the_same_numbers() -> None:
    suite = get_suite("metaworld-mt50")
    assert suite.tasks == get_suite("metaworld-ml45").tasks
    assert suite.train == suite.test == tuple(range(50))
    assert "train and test tasks are the same" in suite.summary
    assert suite.metric == "success" and suite.longest == 500


def test_ml1_has_fifty_goals_inside_meta_worlds_box() -> None:
    suite = get_suite("metaworld-ml1-pick-place")
    assert suite.test == (11, 17, 25, 36, 41) and len(suite.train) == 45 and suite.longest == 101
    goals = np.array([task.goal for task in suite.tasks])
    assert goals.shape == (50, 3) and len(np.unique(goals, axis=0)) == 50
    assert (goals >= [-0.1, 0.8, 0.05]).all() and (goals <= [0.1, 0.9, 0.3]).all()
    for task in suite.tasks:
        assert tuple(task.parameters[axis] for axis in "xyz") == task.goal


@pytest.mark.parametrize("name", ALL)
def test_the_data_never_see_what_only_experts_may(name: str) -> None:
    suite = get_suite(name)
    raw = np.arange(1.0, 41.0)
    seen = suite.view(raw)
    assert seen.shape == (suite.observation_dim,) == (39,)
    hidden = name == "metaworld-ml1-pick-place"
    np.testing.assert_array_equal(seen, [*raw[:36], *([0.0] * 3 if hidden else raw[36:39])])
    np.testing.assert_array_equal(raw, np.arange(1.0, 41.0))  # the expert's own is untouched


@pytest.mark.parametrize("name", ALL)
def test_scripts_come_first(name: str) -> None:
    assert list(sources_of(get_suite(name))) == ["scripted", "per-task", "random"]


@pytest.mark.parametrize("name", ALL[:2])  # MT50 is still to be measured
def test_references_are_there_for_every_task(name: str) -> None:
    suite = get_suite(name)
    assert set(suite.references) == {task.index for task in suite.tasks}
    for known in suite.references.values():
        assert known["random"] < known["expert"]
        assert 0.0 <= known["random_success"] <= known["expert_success"] <= 1.0


def test_listing_imports_neither_meta_world_nor_mujoco() -> None:
    code = (
        "import sys\nfrom trajtune.suites import SUITES, get_suite\n"
        "for name in SUITES:\n    get_suite(name)\n"
        "print([m for m in ('metaworld', 'mujoco', 'torch', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Bad input


def test_without_the_package_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent(monkeypatch)
    words = r"^the suites of Meta-World need an extra: pip install 'trajtune\[metaworld\]'$"
    with pytest.raises(UserError, match=words):
        collect(CollectConfig("metaworld-ml45", (45,)), tmp_path / "data")
    assert not (tmp_path / "data").exists()
    suite = get_suite("metaworld-ml45")
    with pytest.raises(UserError, match=words):
        suite.make(suite.task(3))


def test_without_the_package_the_command_ends_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent(monkeypatch)
    assert main(["collect", "metaworld-ml1-pick-place", "--out", str(tmp_path / "data")]) == 2
    said = capsys.readouterr().err.strip()
    assert "pip install 'trajtune[metaworld]'" in said and "\n" not in said
    assert main(["suites", "--suite", "metaworld-ml45"]) == 0
    assert "bin-picking-v3" in capsys.readouterr().out


def test_another_version_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trajtune.suites.metaworld_env.metadata.version", lambda name: "3.0.0")
    with pytest.raises(UserError, match=r"^Meta-World 3\.0\.0 is installed, .*3\.1\.1: pip install"):
        require_metaworld()


def test_a_name_of_version_2_is_one_line() -> None:
    suite = get_suite("metaworld-ml45")
    with pytest.raises(UserError) as caught:
        suite.select("door-open-v2")
    assert "\n" not in str(caught.value)
