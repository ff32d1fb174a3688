"""Collecting on the point suite: the same bits whatever the workers, what is in it, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.experts.collecting import CONFIG, DATA, HEADER, MARK, ONE, Killed, Mortal, contents
from trajtune.data.store import Dataset
from trajtune.errors import UserError
from trajtune.experts import collect as collecting
from trajtune.experts import ladder
from trajtune.experts.actors import random_actor
from trajtune.experts.collect import collect
from trajtune.experts.ladder import MEDIUM
from trajtune.experts.recording import Episode, mean_return, record, record_seeds
from trajtune.progress import silent
from trajtune.suites import get_suite
from trajtune.suites.base import Acting, Suite

# The same bits


def test_nothing_but_the_dataset_is_left(expected: dict[str, bytes]) -> None:
    assert sorted(expected) == DATA


def test_the_same_seed_gives_the_same_bytes(expected: dict[str, bytes], tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    collect(CONFIG, tmp_path / "data", progress=lambda *step: steps.append(step[:3]))
    assert contents(tmp_path / "data") == expected
    assert steps == [("recording tasks", 1, 2), ("recording tasks", 2, 2)]
    collect(replace(CONFIG, seed=6), tmp_path / "other")
    assert contents(tmp_path / "other")["observations.npy"] != expected["observations.npy"]


def test_a_finished_collection_is_opened(expected: dict[str, bytes], tmp_path: Path) -> None:
    first = collect(ONE, tmp_path)
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in contents(tmp_path)}
    again = collect(ONE, tmp_path, progress=lambda *step: pytest.fail("nothing is left to do"))
    assert again.metadata == first.metadata
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in contents(tmp_path)} == before


def test_two_workers_give_the_same_bytes(expected: dict[str, bytes], tmp_path: Path) -> None:
    collect(CONFIG, tmp_path / "data", workers=2)
    assert contents(tmp_path / "data") == expected


def test_a_task_does_not_depend_on_the_tasks_beside_it(expected: dict[str, bytes], tmp_path: Path) -> None:
    alone = collect(replace(CONFIG, tasks=(9,)), tmp_path / "data")
    both = json.loads(expected[HEADER])
    assert alone.metadata["sources"]["9"] == both["sources"]["9"]
    assert alone.references(9) == both["references"]["9"]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many episodes were recorded at once, each time."""
    found: list[int] = []

    def watched(suite: Suite, task: int, acting: Acting, seeds: list[int], sampled: bool = True) -> list[Episode]:
        found.append(len(seeds))
        return record(suite, task, acting, seeds, sampled)

    monkeypatch.setattr(ladder, "record", watched)
    return found


def test_however_many_are_wanted_few_are_held_at_once(
    held: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = replace(ONE, qualities=("expert", "random"), trajectories=5)
    collect(many, tmp_path / "whole")
    assert held == [5, 5]
    held.clear()
    monkeypatch.setattr(ladder, "CHUNK", 2)
    collect(many, tmp_path / "chunks")
    assert held == [2, 2, 1] * 2
    assert contents(tmp_path / "chunks") == contents(tmp_path / "whole")


def test_the_first_that_are_held_decide_what_medium_is(
    held: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladder, "CHUNK", 3)
    monkeypatch.setattr(collecting, "CHUNK", 3)
    data = collect(replace(ONE, trajectories=7), tmp_path)
    assert max(held) == 3 and held[-2:] == [3, 1]
    assert len(data.select([9], "medium")) == len(data.select([9], "expert")) == 7


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
    script = suite.experts["scripted"]
    (*_, best) = script.ladders(suite, [9], tmp_path, 0, 0, silent)[9]
    expert = record(suite, 9, script.acting(suite, 9, best), record_seeds(5, 9, "expert", 2), sampled=False)
    assert data.references(9)["expert"] == mean_return(expert)
    # The random policy acts in task 9 itself: relabelling another task's episodes must give the same.
    random = record(suite, 9, random_actor, record_seeds(5, 0, "random", 20))
    assert data.references(9)["random"] == pytest.approx(mean_return(random), rel=1e-12)


def test_what_was_recorded_is_what_is_stored(tmp_path: Path) -> None:
    data, suite = collect(ONE, tmp_path), get_suite("point")
    flat = data.trajectories
    assert len(flat) == 4 and data.quality.tolist() == [0, 0, 1, 1] and data.qualities == ["expert", "medium"]
    assert (flat.length == suite.horizon(9)).all() and not flat.terminated.any()
    assert len(set(data.seeds.tolist())) == 4
    assert data.metadata["tasks"]["9"] == {"name": suite.task(9).name, **suite.task(9).parameters}
    for i in range(4):
        env = suite.make(suite.task(9))
        observation, _ = env.reset(seed=int(data.seeds[i]))
        for t in range(suite.horizon(9)):
            row = flat.start[i] + t
            np.testing.assert_array_equal(flat.observations[row], observation.astype(np.float32))
            observation, reward, *_ = env.step(flat.actions[row])
            assert flat.rewards[row] == np.float32(reward)
            assert flat.achieved is not None  # the point's position
            np.testing.assert_array_equal(flat.achieved[row], observation.astype(np.float32))
        assert flat.final_observations is not None
        np.testing.assert_array_equal(flat.final_observations[i], observation.astype(np.float32))


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
    assert MARK in before and HEADER not in before
    with pytest.raises(UserError, match=f"unfinished dataset with another {name}: choose another"):
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
    (tmp_path / HEADER).write_text('{"name": "of another program"}')
    with pytest.raises(UserError, match="does not describe a trajtune dataset"):
        collect(ONE, tmp_path)
    assert list(contents(tmp_path)) == [HEADER]


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
        ({"experts": "script"}, "unknown source of experts 'script': did you mean scripted?"),
        ({"experts": "per-task"}, "suite point does not say how long an expert must train"),
        ({"composition": "replays"}, "unknown composition 'replays': did you mean replay?"),
        ({"composition": "replay"}, "experts scripted leave nothing of their training: --composition replay needs"),
        ({"experts": "random"}, "leave no data of quality expert: collect the quality random"),
        ({"suite": "cheetah-vel", "experts": "scripted"}, "choose one of shipped, goal-conditioned, per-task"),
        ({"updates": -1}, "updates must be at least 1"),
        ({"seed": -1}, "seed must be 0"),
    ],
)
def test_what_cannot_be_collected_is_refused_before_anything_is_written(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        collect(replace(ONE, **change), tmp_path / "data")
    assert not (tmp_path / "data").exists()
