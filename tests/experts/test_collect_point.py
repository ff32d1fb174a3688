"""Collecting on the point suite: the same bits whatever the workers and however often it was killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trajtune.experts.policies import random_actor, scripted_actor

from trajtune.data import Dataset
from trajtune.data.store import FILES, METADATA
from trajtune.errors import UserError
from trajtune.experts import collect as collecting
from trajtune.experts.collect import CollectConfig, collect
from trajtune.experts.ladder import MEDIUM
from trajtune.experts.recording import record, relabelled_return, seeds_for
from trajtune.suites import get_suite

ROOT = Path(__file__).resolve().parents[2]
CONFIG = CollectConfig("point", (4, 9), trajectories=3, experts="scripted", seed=5)
ONE = replace(CONFIG, tasks=(9,), trajectories=2)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What ``CONFIG`` gives, in one process and uninterrupted."""
    folder = tmp_path_factory.mktemp("collect") / "data"
    collect(CONFIG, folder)
    return contents(folder)


# The same bits


def test_nothing_but_the_dataset_is_left(expected: dict[str, bytes]) -> None:
    assert sorted(expected) == sorted([*FILES, METADATA])


def test_the_same_seed_gives_the_same_bytes(expected: dict[str, bytes], tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    collect(CONFIG, tmp_path / "data", report=lambda *step: steps.append(step))
    assert contents(tmp_path / "data") == expected
    assert steps == [("recording tasks", 1, 2), ("recording tasks", 2, 2)]
    collect(replace(CONFIG, seed=6), tmp_path / "other")
    assert contents(tmp_path / "other")["observations.npy"] != expected["observations.npy"]


def test_a_finished_collection_is_opened(expected: dict[str, bytes], tmp_path: Path) -> None:
    first = collect(ONE, tmp_path)
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in contents(tmp_path)}
    again = collect(ONE, tmp_path, report=lambda *step: pytest.fail("nothing is left to do"))
    assert again.metadata == first.metadata
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in contents(tmp_path)} == before


def test_two_workers_give_the_same_bytes(expected: dict[str, bytes], tmp_path: Path) -> None:
    collect(CONFIG, tmp_path / "data", workers=2)
    assert contents(tmp_path / "data") == expected


def test_a_task_does_not_depend_on_the_tasks_beside_it(expected: dict[str, bytes], tmp_path: Path) -> None:
    alone = collect(replace(CONFIG, tasks=(9,)), tmp_path / "data")
    both = json.loads(expected[METADATA])
    assert alone.metadata["sources"]["9"] == both["sources"]["9"]
    assert alone.references(9) == both["references"]["9"]


# Killed and run again


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_collection_goes_on(expected: dict[str, bytes], tmp_path: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from trajtune.experts.collect import CollectConfig, collect

def report(what, done, total):
    print(what, done, flush=True)
    time.sleep(60)

config = CollectConfig("point", (4, 9), trajectories=3, experts="scripted", seed=5)
collect(config, Path(sys.argv[1]), report=report)
"""
    folder = tmp_path / "data"
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == "recording tasks 1"
        child.kill()
    assert child.returncode == -signal.SIGKILL
    with pytest.raises(UserError, match="is not a dataset"):
        Dataset.open(folder)
    done = {name: (folder / name).stat().st_mtime_ns for name in contents(folder) if name.startswith("parts/004")}
    assert len(done) == 4
    still: dict[str, int] = {}

    def look(*step: Any) -> None:
        still.update({name: (folder / name).stat().st_mtime_ns for name in done})

    collect(CONFIG, folder, report=look)
    assert still == done  # the first task was not recorded again
    assert contents(folder) == expected


class Killed(BaseException):
    """Stands for SIGKILL where the test must go on."""


class Mortal:
    """Dies before the ``deadly``-th change of the disk; from then on nothing is changed, not even by a ``finally``."""

    def __init__(self, patch: pytest.MonkeyPatch, deadly: int) -> None:
        self.changes, self.deadly = 0, deadly
        for owner, name in ((os, "replace"), (Path, "unlink"), (Path, "rmdir")):
            patch.setattr(owner, name, self._guarded(getattr(owner, name)))

    def _guarded(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **options: Any) -> Any:
            self.changes += 1
            if self.changes > self.deadly:
                raise Killed
            return change(*args, **options)

        return guarded


def test_killed_at_any_change_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every single one, the folder is either no dataset or the finished one, and running again completes it."""
    monkeypatch.setattr(collecting, "SCRIPT_NOISE", (0.3, 2.5))
    with monkeypatch.context() as patch:
        clean = Mortal(patch, 10**9)
        collect(ONE, tmp_path / "clean")
    expected = contents(tmp_path / "clean")
    assert clean.changes > 20
    for deadly in range(clean.changes):
        folder = tmp_path / str(deadly)
        with monkeypatch.context() as patch:
            Mortal(patch, deadly)
            with pytest.raises(Killed):
                collect(ONE, folder)
        if (folder / METADATA).exists():
            Dataset.open(folder)
        collect(ONE, folder)
        assert contents(folder) == expected, f"killed before change {deadly}"
        assert [path for path in folder.iterdir() if path.is_dir()] == []


# What is in it


def test_medium_lies_in_its_range_on_every_task(point_data: Dataset) -> None:
    data = point_data
    assert sorted(set(data.trajectories.task.tolist())) == list(range(16))
    for task in range(16):
        references = data.references(task)
        means = {quality: data.select([task], quality).returns.mean() for quality in ("expert", "medium")}
        assert means["expert"] == pytest.approx(references["expert"], rel=1e-5)
        normalised = (means["medium"] - references["random"]) / (references["expert"] - references["random"])
        assert MEDIUM[0] <= normalised <= MEDIUM[1]
        for quality, source in data.metadata["sources"][str(task)].items():
            assert source["mean_return"] == pytest.approx(means[quality], rel=1e-5)


def test_references_are_the_means_of_recorded_episodes(tmp_path: Path) -> None:
    data, suite = collect(ONE, tmp_path), get_suite("point")
    expert = record(suite, 9, scripted_actor(suite, 0.0), seeds_for(5, 9, 0, 2))
    assert data.references(9)["expert"] == np.mean([e.episode_return for e in expert])
    # The random policy acts in task 9 itself: relabelling another task's episodes must give the same.
    random = record(suite, 9, random_actor, seeds_for(5, 0, collecting.RANDOM, 20))
    assert data.references(9)["random"] == pytest.approx(np.mean([e.episode_return for e in random]), rel=1e-12)


def test_what_was_recorded_is_what_is_stored(tmp_path: Path) -> None:
    data, suite = collect(ONE, tmp_path), get_suite("point")
    flat = data.trajectories
    assert len(flat) == 4 and data.quality.tolist() == [0, 0, 1, 1] and data.qualities == ["expert", "medium"]
    assert (flat.length == suite.horizon).all() and not flat.terminated.any()
    assert len(set(data.seeds.tolist())) == 4
    assert data.metadata["tasks"]["9"] == {"name": suite.task(9).name, **suite.task(9).parameters}
    for i in range(4):
        env = suite.make(suite.task(9))
        observation, _ = env.reset(seed=int(data.seeds[i]))
        for t in range(suite.horizon):
            row = flat.start[i] + t
            np.testing.assert_array_equal(flat.observations[row], observation.astype(np.float32))
            observation, reward, *_ = env.step(flat.actions[row])
            assert flat.rewards[row] == np.float32(reward)
        np.testing.assert_array_equal(data.final_observations[i], observation.astype(np.float32))


def test_an_episode_depends_on_its_seed_alone() -> None:
    suite = get_suite("point")
    acting = scripted_actor(suite, 1.0)
    together, alone = record(suite, 3, acting, [1, 2, 3]), record(suite, 3, acting, [2])[0]
    for name in ("observations", "actions", "rewards", "achieved", "final_observation"):
        np.testing.assert_array_equal(getattr(together[1], name), getattr(alone, name))
    assert together[1].seed == alone.seed == 2
    assert relabelled_return(suite, alone, 3) == pytest.approx(alone.episode_return, rel=1e-12)


def test_one_quality_in_float16(tmp_path: Path) -> None:
    data = collect(replace(ONE, qualities=("medium",), dtype="float16"), tmp_path)
    assert data.qualities == ["medium"] and data.quality.tolist() == [0, 0]
    assert data.trajectories.observations.dtype == np.float16
    assert set(data.references(9)) == {"random", "expert"}


# Refused, and untouched

OTHERS: list[dict[str, Any]] = [
    {"tasks": (9, 4)},
    {"tasks": (4,)},
    {"qualities": ("expert",)},
    {"trajectories": 4},
    {"seed": 6},
    {"dtype": "float16"},
]


@pytest.mark.parametrize("change", OTHERS)
def test_another_configuration_is_refused(
    expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    (name,) = change
    for file, raw in expected.items():
        (tmp_path / file).write_bytes(raw)
    with pytest.raises(UserError, match=f"already holds a dataset with another {name}: choose another folder"):
        collect(replace(CONFIG, **change), tmp_path)
    assert contents(tmp_path) == expected
    # The same for one that is not finished.
    folder = tmp_path / "unfinished"
    with monkeypatch.context() as patch:
        Mortal(patch, 1)
        with pytest.raises(Killed):
            collect(CONFIG, folder)
    before = contents(folder)
    assert "collect.json" in before and METADATA not in before
    with pytest.raises(UserError, match=f"unfinished collection with another {name}: choose another"):
        collect(replace(CONFIG, **change), folder)
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "parts/004-expert.safetensors", "observations.npy"])
def test_a_folder_with_something_else_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match="already holds something else"):
        collect(ONE, tmp_path)
    assert contents(tmp_path) == {name: b"mine"}


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    with pytest.raises(UserError, match="already holds something else"):
        collect(ONE, tmp_path / "data")
    assert contents(tmp_path) == {"data": b"mine"}


def test_a_foreign_dataset_is_refused(tmp_path: Path) -> None:
    (tmp_path / METADATA).write_text('{"name": "of another program"}')
    with pytest.raises(UserError, match="does not describe a trajtune dataset"):
        collect(ONE, tmp_path)
    assert list(contents(tmp_path)) == [METADATA]


def test_a_damaged_part_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*args: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(collecting, "_assemble", die)
        with pytest.raises(Killed):
            collect(ONE, tmp_path)
    (tmp_path / "parts" / "009-medium.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(UserError, match=r"009-medium\.safetensors is damaged"):
        collect(ONE, tmp_path)
    assert not (tmp_path / METADATA).exists() and list(tmp_path.glob("*.bin")) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"suite": "pint"}, "unknown suite 'pint'"),
        ({"tasks": (3, 16)}, "suite point has no task 16"),
        ({"tasks": ()}, "at least one task"),
        ({"qualities": ()}, "at least one task and one quality"),
        ({"qualities": ("expert", "best")}, "unknown quality 'best'"),
        ({"trajectories": 0}, "at least 1"),
        ({"dtype": "float8"}, "unknown dtype 'float8'"),
    ],
)
def test_what_cannot_be_collected_is_refused_before_anything_is_written(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        collect(replace(ONE, **change), tmp_path / "data")
    assert not (tmp_path / "data").exists()
