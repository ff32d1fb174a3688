"""The dataset on disk: what is written comes back, in constant memory, and what is selected is what was asked for."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.stores import (
    ABOUT,
    A,
    D,
    S,
    assert_same,
    contents,
    edit,
    steps,
    trajectories,
    write,
)
from trajtune.data.sampling import draw_batch
from trajtune.data.store import FILES, METADATA, Dataset
from trajtune.data.writer import DatasetWriter
from trajtune.errors import UserError

# Round trip


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_is_written_comes_back(tmp_path: Path, dtype: str) -> None:
    written = write(tmp_path / "data", dtype)
    opened = Dataset.open(tmp_path / "data")
    assert_same(opened, written)
    flat = opened.trajectories
    assert flat.observations.dtype == flat.actions.dtype == dtype
    assert flat.rewards.dtype == flat.returns_to_go.dtype == np.float32
    for i, (rows, about) in enumerate(trajectories()):
        at = slice(flat.start[i], flat.start[i] + flat.length[i])
        np.testing.assert_array_equal(flat.observations[at], rows["observations"].astype(dtype))
        np.testing.assert_array_equal(flat.actions[at], rows["actions"].astype(dtype))
        np.testing.assert_array_equal(flat.rewards[at], rows["rewards"].astype(np.float32))
        naive = [rows["rewards"][t:].sum() for t in range(len(rows["rewards"]))]
        np.testing.assert_allclose(flat.returns_to_go[at], naive, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(flat.final_observations[i], rows["final_observation"].astype(np.float32))
        found = (flat.task[i], opened.quality[i], opened.seeds[i], flat.terminated[i])
        assert found == (about["task"], about["quality"], about["seed"], about["terminated"])
    assert flat.start[0] == 0 and flat.start[-1] + flat.length[-1] == len(flat.rewards) == flat.steps
    assert flat.achieved is None


def test_what_was_achieved_comes_back(tmp_path: Path) -> None:
    written = write(tmp_path / "data", achieved=True)
    assert sorted(contents(tmp_path / "data")) == sorted([*FILES, METADATA, "achieved.npy"])
    opened = Dataset.open(tmp_path / "data")
    assert opened.metadata["achieved_dim"] == D and isinstance(opened.trajectories.achieved, np.memmap)
    assert_same(opened, written)
    recorded = trajectories(achieved=True)
    expected = np.concatenate([rows["achieved"] for rows, _ in recorded]).astype(np.float32)
    np.testing.assert_array_equal(opened.trajectories.achieved, expected)
    few = opened.select([7], "medium").loaded()
    chosen = [rows for rows, about in recorded if (about["task"], about["quality"]) == (7, 1)]
    np.testing.assert_array_equal(few.achieved, np.concatenate([r["achieved"] for r in chosen]).astype(np.float32))
    np.testing.assert_array_equal(few.final_observations, np.float32([r["final_observation"] for r in chosen]))


def test_final_observations_may_be_unknown(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path, S, A)
    rows = {**steps(0), "final_observation": None}
    writer.add(**rows, task=0, quality=0, seed=0)
    with pytest.raises(UserError, match=r"trajectory 1: the final observation is known in all .* or in none"):
        writer.add(**steps(1), task=0, quality=0, seed=0)
    writer.add(**rows, task=0, quality=0, seed=1)
    opened = writer.finish(ABOUT)
    assert opened.trajectories.final_observations is None and len(opened.trajectories) == 2
    assert opened.select().loaded().final_observations is None


def test_metadata_comes_back(pristine: Path) -> None:
    data = Dataset.open(str(pristine))
    assert data.suite == "point" and data.qualities == ["expert", "medium"]
    assert data.references(3) == {"random": -30.0, "expert": -3.0} and data.references(5) == {}
    assert data.metadata["trajectories"] == len(data.trajectories) == 18
    assert data.metadata["steps"] == data.trajectories.steps
    assert (data.metadata["observation_dim"], data.metadata["action_dim"]) == (S, A)
    assert sorted(contents(pristine)) == sorted([*FILES, METADATA])  # and no raw or temporary files, no mark


def test_same_input_same_bytes(pristine: Path, tmp_path: Path) -> None:
    assert contents(write(tmp_path / "again").path) == contents(pristine)


def test_a_dataset_prints_as_one_line(pristine: Path) -> None:
    line = repr(Dataset.open(pristine))
    assert line.startswith(f"Dataset({pristine}: point, 18 trajectories (expert, medium) of tasks 3, 5, 7, ")
    assert "\n" not in line


def test_identity_is_that_of_the_data_and_of_what_they_mean(folder: Path, pristine: Path, tmp_path: Path) -> None:
    original = Dataset.open(pristine).identity()
    assert Dataset.open(folder).identity() == original  # wherever it lies
    edit(folder, lambda m: m.update(command="another", run={"seed": 5}))
    assert Dataset.open(folder).identity() == original  # however it was made
    edit(folder, lambda m: m["references"]["3"].update(random=-31.0))
    assert Dataset.open(folder).identity() != original
    assert write(tmp_path / "half", "float16").identity() != original


# Select


def test_select_sorts_by_task(pristine: Path) -> None:
    data = Dataset.open(pristine)
    for tasks in (None, [7, 5, 3], [3, 7, 5, 7]):
        picked = data.select(tasks)
        assert picked.task.tolist() == [3] * 6 + [5] * 6 + [7] * 6
        assert len(set(picked.start.tolist())) == 18
    assert data.select([7, 3], "medium").task.tolist() == [3, 3, 3, 7, 7, 7]


def test_select_takes_one_quality(pristine: Path) -> None:
    data = Dataset.open(pristine)
    rows = np.flatnonzero((data.trajectories.task == 5) & (data.quality == 1))
    picked = data.select([5], "medium")
    for name in ("start", "length", "terminated", "final_observations"):
        np.testing.assert_array_equal(getattr(picked, name), getattr(data.trajectories, name)[rows])
    assert picked.observations is data.trajectories.observations  # nothing is copied


def test_select_a_few_is_drawn_by_the_seed(pristine: Path) -> None:
    data = Dataset.open(pristine)
    everything = data.select([3, 7], "expert")
    drawn = [tuple(data.select([3, 7], "expert", 2, seed).start) for seed in range(20)]
    assert drawn == [tuple(data.select([3, 7], "expert", 2, seed).start) for seed in range(20)]
    assert len(set(drawn)) > 3  # nine are possible
    for starts in drawn:
        assert len(set(starts)) == 4 and set(starts) <= set(everything.start.tolist())
    assert data.select([3, 7], "expert", 2).task.tolist() == [3, 3, 7, 7]
    # What a task gets does not depend on the tasks beside it.
    assert tuple(data.select([7], "expert", 2, 4).start) == drawn[4][2:]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"tasks": [4]}, r"task 4.*3, 5, 7"),
        ({"quality": "best"}, "unknown quality 'best'.*expert, medium"),
        ({"quality": "exprt"}, "did you mean expert"),
        ({"count": 0}, "1 to 6"),
        ({"count": -1}, "1 to 6"),
        ({"count": 7}, "1 to 6"),
        ({"count": 4, "quality": "medium"}, "1 to 3"),
        ({"tasks": []}, "no tasks"),
    ],
)
def test_select_refuses(pristine: Path, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Dataset.open(pristine).select(**arguments)


def test_select_refuses_a_quality_that_a_task_lacks(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path, S, A)
    writer.add(**steps(0), task=0, quality=0, seed=0)
    data = writer.finish(ABOUT)
    with pytest.raises(UserError, match="no medium trajectories of task 0"):
        data.select([0], "medium")


# Memory


def test_opening_and_drawing_take_constant_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    writer = DatasetWriter(tmp_path, 250, A, achieved_dim=250)
    for i in range(30):
        rows = rng.random((1000, 250), np.float32)
        writer.add(rows, rows[:, :A], rows[:, 0], rows[0], task=i // 15, quality=0, seed=i, achieved=rows)
    writer.finish(ABOUT)
    assert (tmp_path / "observations.npy").stat().st_size > 30_000_000
    tracemalloc.start()
    try:
        data = Dataset.open(tmp_path)
        assert isinstance(data.trajectories.observations, np.memmap)
        picked = data.select()
        assert isinstance(picked.observations, np.memmap) and isinstance(picked.achieved, np.memmap)
        draw_batch(picked, np.random.default_rng(0), batch=8, window_length=5, prompt_length=3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000
