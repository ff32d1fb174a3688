"""Writing a dataset: what is refused, what a killed writer or a full disk leaves behind, and whose folder it is."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.stores import ABOUT, A, D, S, contents, refused, steps, write
from trajtune import artifacts
from trajtune.artifacts import DATASET, MARK, claim, clear
from trajtune.data import writer as writing
from trajtune.data.store import FILES, METADATA, Dataset
from trajtune.data.writer import DatasetWriter
from trajtune.errors import UserError

PLACE = {"task": 0, "quality": 0, "seed": 0}


@pytest.fixture
def writer(tmp_path: Path) -> Any:
    writer = DatasetWriter(tmp_path / "data", S, A)
    yield writer
    close(writer)


def close(writer: DatasetWriter) -> None:
    for file in writer._files.values():
        file.close()


# Refused


@pytest.mark.parametrize("column", ["observations", "actions", "rewards", "final_observation"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_writing_refuses_what_is_not_finite(writer: DatasetWriter, column: str, value: float) -> None:
    writer.add(**steps(0), **PLACE)
    rows = steps(1)
    rows[column][-1] = value
    with pytest.raises(UserError, match=f"trajectory 1 has a non-finite number in its {column}"):
        writer.add(**rows, **PLACE)
    assert len(writer.finish(ABOUT).trajectories) == 1  # the refused one left nothing behind


def test_writing_refuses_what_float16_cannot_hold(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path, S, A, "float16")
    rows = steps(0)
    rows["observations"][0, 0] = 70_000.0
    with pytest.raises(UserError, match="number in its observations that float16 cannot hold"):
        writer.add(**rows, **PLACE)
    rows["observations"][0, 0], rows["rewards"][0] = 1.0, 70_000.0  # rewards stay float32
    writer.add(**rows, **PLACE)
    assert writer.finish(ABOUT).trajectories.rewards[0] == 70_000.0


@pytest.mark.parametrize(
    ("column", "shape"),
    [
        ("observations", (4, S + 1)),
        ("observations", (5, S)),
        ("observations", (4 * S,)),
        ("actions", (4, A - 1)),
        ("actions", (3, A)),
        ("rewards", (4, 1)),
        ("rewards", (5,)),
        ("rewards", ()),
        ("final_observation", (S + 1,)),
        ("final_observation", (1, S)),
    ],
)
def test_writing_refuses_wrong_shapes(writer: DatasetWriter, column: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"trajectory 0: \w+ has shape .*, expected"):
        writer.add(**{**steps(0), column: np.ones(shape)}, **PLACE)
    with pytest.raises(UserError, match="no trajectories"):
        writer.finish(ABOUT)


def test_achieved_is_given_everywhere_or_nowhere(writer: DatasetWriter, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="trajectory 0 gives achieved"):
        writer.add(**steps(0, achieved=True), **PLACE)
    other = DatasetWriter(tmp_path / "other", S, A, achieved_dim=D)
    with pytest.raises(UserError, match="trajectory 0 does not give achieved"):
        other.add(**steps(0), **PLACE)
    with pytest.raises(UserError, match="achieved has shape"):
        other.add(**{**steps(0, achieved=True), "achieved": np.ones((4, D + 1))}, **PLACE)
    close(other)


def test_writing_refuses_a_trajectory_without_steps(writer: DatasetWriter) -> None:
    with pytest.raises(UserError, match="trajectory 0 has no steps"):
        writer.add(**steps(0, length=0), **PLACE)


def test_writing_refuses_zero_trajectories(writer: DatasetWriter) -> None:
    with pytest.raises(UserError, match="no trajectories"):
        writer.finish(ABOUT)
    refused(writer._path, METADATA)


@pytest.mark.parametrize("change", [{"suite": None}, {"references": []}, {"run": 3}, {"files": {}}, {"digest": "0"}])
def test_writing_refuses_metadata_that_could_not_be_opened(writer: DatasetWriter, change: dict[str, Any]) -> None:
    writer.add(**steps(0), **PLACE)
    with pytest.raises(UserError, match=next(iter(change))):
        writer.finish({**ABOUT, **change})
    refused(writer._path, METADATA)


@pytest.mark.parametrize("dtype", ["float64", "int32", "flaot32"])
def test_writing_refuses_other_number_types(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(UserError, match=f"unknown dtype '{dtype}': .*choose one of float32, float16"):
        DatasetWriter(tmp_path / "data", S, A, dtype)
    assert not (tmp_path / "data").exists()


# Whose folder it is


def test_writing_into_a_dataset_is_refused(folder: Path) -> None:
    before = contents(folder)
    with pytest.raises(UserError, match="already holds a dataset"):
        DatasetWriter(folder, S, A)
    assert contents(folder) == before


def test_writing_into_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    with pytest.raises(UserError, match="already holds something else"):
        DatasetWriter(tmp_path / "data", S, A)
    assert (tmp_path / "data").read_text() == "mine"


@pytest.mark.parametrize("name", ["observations.npy", "index.safetensors", "rewards.bin", "notes.txt", ".hidden"])
def test_a_stray_file_is_never_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match="already holds something else: choose another folder"):
        DatasetWriter(tmp_path, S, A)
    assert contents(tmp_path) == {name: b"mine"}


def test_a_claimed_folder_may_hold_parts_and_what_a_killed_writer_left(tmp_path: Path, pristine: Path) -> None:
    claim(tmp_path, DATASET, {"seed": 0})
    (tmp_path / "parts").mkdir()
    (tmp_path / "experts").mkdir()
    (tmp_path / "observations.npy").write_text("half")
    with DatasetWriter(tmp_path, S, A) as writer:
        writer.add(**steps(0), **PLACE)
        writer.finish({**ABOUT, "run": {"seed": 0}})
    assert (tmp_path / MARK).exists()  # it is the collection's to remove
    clear(tmp_path, ("parts",))
    header = artifacts.finished(tmp_path, DATASET, {"seed": 0})
    assert header is not None and header["run"] == {"seed": 0}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*FILES, METADATA, "experts"])


@pytest.mark.parametrize("strange", ["agent.json", "mine"])
def test_a_claimed_folder_with_something_else_is_refused(tmp_path: Path, strange: str) -> None:
    claim(tmp_path, DATASET, {"seed": 0})
    (tmp_path / strange).write_text("{}")
    with pytest.raises(UserError, match="already holds something else"):
        DatasetWriter(tmp_path, S, A)


def test_a_folder_claimed_for_another_kind_is_refused(tmp_path: Path) -> None:
    claim(tmp_path, artifacts.AGENT, {"seed": 0})
    with pytest.raises(UserError, match="already holds something else"):
        DatasetWriter(tmp_path, S, A)
    assert json.loads((tmp_path / MARK).read_text())["kind"] == "agent"


# Killed, and out of space


class Killed(BaseException):
    """Stands for SIGKILL where the test must go on."""


@pytest.mark.parametrize("place", ["before", "_finish_array", "write_arrays", "finish"])
def test_a_writer_that_is_killed_leaves_nothing_that_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pristine: Path, place: str
) -> None:
    def die(*args: Any) -> None:
        raise Killed

    writer = DatasetWriter(tmp_path / "data", S, A)
    writer.add(**steps(0, 1000), **PLACE)
    if place != "before":
        with monkeypatch.context() as patch:
            patch.setattr(DatasetWriter if place.startswith("_") else writing, place, die)
            with pytest.raises(Killed):
                writer.finish(ABOUT)
    close(writer)
    refused(tmp_path / "data", METADATA)
    assert contents(write(tmp_path / "data").path) == contents(pristine)  # what is left does not disturb the next


@pytest.mark.parametrize("place", ["adding", "finishing"])
def test_a_writer_that_fails_leaves_the_folder_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def full(*args: Any) -> None:
        raise UserError("no space left on the disk")

    def fail() -> None:
        with DatasetWriter(tmp_path, S, A) as writer:
            writer.add(**steps(0), **PLACE)
            if place == "finishing":
                monkeypatch.setattr(writing, "write_arrays", full)
                writer.finish(ABOUT)
            writer.add(**{**steps(0), "rewards": np.ones(3)}, **PLACE)

    with monkeypatch.context(), pytest.raises(UserError, match=r"trajectory 1|no space"):
        fail()
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []
    with DatasetWriter(tmp_path, S, A) as writer:
        writer.add(**steps(0), **PLACE)
        writer.finish(ABOUT)
    assert len(Dataset.open(tmp_path).trajectories) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("length", [4, 20_000])
def test_a_full_disk_while_adding(tmp_path: Path, length: int) -> None:
    """Few rows stay in a buffer until ``finish``, many are written at once."""
    writer = DatasetWriter(tmp_path, S, A)
    writer._files["actions"].close()
    writer._files["actions"] = open("/dev/full", "wb")  # noqa: SIM115

    def write_all() -> None:
        writer.add(**steps(0, length), **PLACE)
        writer.finish(ABOUT)

    with pytest.raises(UserError, match="no space left on the disk"):
        write_all()
    for name, file in writer._files.items():
        if name != "actions":
            file.close()
    refused(tmp_path, METADATA)


@pytest.mark.parametrize("call", range(len(FILES) + 1))
def test_a_full_disk_while_finishing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Every file is synced once: fail at each of them."""
    calls: list[int] = []

    def full(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):  # synced, too, but a system may not be able to
            return
        calls.append(descriptor)
        if len(calls) == call + 1:
            raise OSError(28, os.strerror(28))

    writer = DatasetWriter(tmp_path, S, A)
    writer.add(**steps(0), **PLACE)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="no space left on the disk"):
            writer.finish(ABOUT)
    close(writer)
    assert not (tmp_path / METADATA).exists()
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []
