"""The dataset on disk: what is written comes back, and whatever is damaged is one line that names the file."""

import hashlib
import json
import os
import pickle
import re
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trajtune.data import Dataset, DatasetWriter, draw_batch
from trajtune.data import writer as writing
from trajtune.data.store import FILES, FLAT, INDEX, METADATA
from trajtune.errors import UserError

S, A = 3, 2
ABOUT = {"suite": "point", "observation_dim": S, "action_dim": A, "qualities": ["expert", "medium"]}
REFERENCES = {"3": {"random": -30.0, "expert": -3.0}}
Rows = dict[str, np.ndarray]


def steps(seed: int, length: int = 4) -> Rows:
    rng = np.random.default_rng(seed)
    shapes = {"observations": (length, S), "actions": (length, A), "rewards": (length,), "final_observation": (S,)}
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def trajectories() -> list[tuple[Rows, dict[str, Any]]]:
    """Tasks 5, 3, 7 in this order, two qualities, three of each; lengths 2 to 5."""
    return [
        (
            steps(100 * task + 10 * quality + i, 2 + (task + quality + i) % 4),
            {"task": task, "quality": quality, "seed": 1000 * task + i, "terminated": i == 1},
        )
        for task in (5, 3, 7)
        for quality in (0, 1)
        for i in range(3)
    ]


def write(folder: Path, dtype: str = "float32") -> Dataset:
    writer = DatasetWriter(folder, S, A, dtype)
    for rows, about in trajectories():
        writer.add(**rows, **about)
    return writer.finish({**ABOUT, "references": REFERENCES})


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("store") / "pristine").path


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(pristine, tmp_path / "data"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the metadata in place."""
    metadata = json.loads((folder / METADATA).read_text())
    change(metadata)
    (folder / METADATA).write_text(json.dumps(metadata))


def sign(folder: Path) -> None:
    """Make the sizes and checksums those of the files as they are now, as somebody who means harm would."""

    def entries(metadata: dict[str, Any]) -> None:
        for name in FILES:
            raw = (folder / name).read_bytes()
            metadata["files"][name] = {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}

    edit(folder, entries)


def refused(folder: Path, name: str, verify: bool = True) -> str:
    """Opening fails with one line that names the file; return it."""
    with pytest.raises(UserError) as caught:
        Dataset.open(folder, verify)
    message = str(caught.value)
    assert name in message and "\n" not in message
    return message


def assert_same(opened: Dataset, original: Dataset) -> None:
    for name in (*FLAT, "start", "length", "task", "terminated"):
        np.testing.assert_array_equal(getattr(opened.trajectories, name), getattr(original.trajectories, name))
    for name in ("quality", "seeds", "final_observations"):
        np.testing.assert_array_equal(getattr(opened, name), getattr(original, name))


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
        np.testing.assert_array_equal(opened.final_observations[i], rows["final_observation"].astype(np.float32))
        found = (flat.task[i], opened.quality[i], opened.seeds[i], flat.terminated[i])
        assert found == (about["task"], about["quality"], about["seed"], about["terminated"])
    assert flat.start[0] == 0 and flat.start[-1] + flat.length[-1] == len(flat.rewards) == flat.steps


def test_metadata_comes_back(pristine: Path) -> None:
    data = Dataset.open(str(pristine))
    assert data.suite == "point" and data.qualities == ["expert", "medium"]
    assert data.references(3) == {"random": -30.0, "expert": -3.0} and data.references(5) == {}
    assert data.metadata["trajectories"] == len(data.trajectories) == 18
    assert data.metadata["steps"] == data.trajectories.steps
    assert sorted(contents(pristine)) == sorted([*FILES, METADATA])  # and no raw or temporary files


def test_same_input_same_bytes(pristine: Path, tmp_path: Path) -> None:
    assert contents(write(tmp_path / "again").path) == contents(pristine)


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
    np.testing.assert_array_equal(picked.start, data.trajectories.start[rows])
    np.testing.assert_array_equal(picked.length, data.trajectories.length[rows])
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
    writer = DatasetWriter(tmp_path, 250, A)
    for i in range(30):
        rows = rng.random((1000, 250), np.float32)
        writer.add(rows, rows[:, :A], rows[:, 0], rows[0], task=i // 15, quality=0, seed=i)
    writer.finish({**ABOUT, "observation_dim": 250})
    assert (tmp_path / "observations.npy").stat().st_size > 30_000_000
    tracemalloc.start()
    try:
        data = Dataset.open(tmp_path)
        assert isinstance(data.trajectories.observations, np.memmap)
        picked = data.select()
        assert isinstance(picked.observations, np.memmap)
        draw_batch(picked, np.random.default_rng(0), batch=8, window_length=5, prompt_length=3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


# Refused at writing


@pytest.fixture
def writer(tmp_path: Path) -> Any:
    writer = DatasetWriter(tmp_path / "data", S, A)
    yield writer
    for file in writer._files.values():
        file.close()


@pytest.mark.parametrize("column", ["observations", "actions", "rewards", "final_observation"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_writing_refuses_what_is_not_finite(writer: DatasetWriter, column: str, value: float) -> None:
    writer.add(**steps(0), task=0, quality=0, seed=0)
    rows = steps(1)
    rows[column][-1] = value
    with pytest.raises(UserError, match=f"trajectory 1 has a non-finite number in its {column}"):
        writer.add(**rows, task=0, quality=0, seed=0)
    assert len(writer.finish(ABOUT).trajectories) == 1  # the refused one left nothing behind


def test_writing_refuses_what_float16_cannot_hold(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path, S, A, "float16")
    rows = steps(0)
    rows["observations"][0, 0] = 70_000.0
    with pytest.raises(UserError, match="number in its observations that float16 cannot hold"):
        writer.add(**rows, task=0, quality=0, seed=0)
    rows["observations"][0, 0], rows["rewards"][0] = 1.0, 70_000.0  # rewards stay float32
    writer.add(**rows, task=0, quality=0, seed=0)
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
        writer.add(**{**steps(0), column: np.ones(shape)}, task=0, quality=0, seed=0)
    with pytest.raises(UserError, match="no trajectories"):
        writer.finish(ABOUT)


def test_writing_refuses_a_trajectory_without_steps(writer: DatasetWriter) -> None:
    with pytest.raises(UserError, match="trajectory 0 has no steps"):
        writer.add(**steps(0, length=0), task=0, quality=0, seed=0)


def test_writing_refuses_zero_trajectories(writer: DatasetWriter) -> None:
    with pytest.raises(UserError, match="no trajectories"):
        writer.finish(ABOUT)
    refused(writer._path, METADATA)


def test_writing_refuses_metadata_that_could_not_be_opened(writer: DatasetWriter) -> None:
    writer.add(**steps(0), task=0, quality=0, seed=0)
    with pytest.raises(UserError, match="'suite'"):
        writer.finish({name: value for name, value in ABOUT.items() if name != "suite"})
    refused(writer._path, METADATA)


@pytest.mark.parametrize("dtype", ["float64", "int32", "flaot32"])
def test_writing_refuses_other_number_types(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(UserError, match=f"unknown dtype '{dtype}': choose one of float32, float16"):
        DatasetWriter(tmp_path / "data", S, A, dtype)
    assert not (tmp_path / "data").exists()


def test_writing_into_a_dataset_is_refused(folder: Path) -> None:
    before = contents(folder)
    with pytest.raises(UserError, match="already holds a dataset"):
        DatasetWriter(folder, S, A)
    assert contents(folder) == before


def test_writing_into_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    with pytest.raises(UserError, match="cannot write"):
        DatasetWriter(tmp_path / "data", S, A)
    assert (tmp_path / "data").read_text() == "mine"


# Killed, and out of space


class Killed(BaseException):
    """Stands for SIGKILL where the test must go on."""


@pytest.mark.parametrize("place", ["before", "_finish_array", "write_arrays", "write_json"])
def test_a_writer_that_is_killed_leaves_nothing_that_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pristine: Path, place: str
) -> None:
    def die(*args: Any) -> None:
        raise Killed

    writer = DatasetWriter(tmp_path / "data", S, A)
    writer.add(**steps(0, 1000), task=0, quality=0, seed=0)
    if place != "before":
        with monkeypatch.context() as patch:
            patch.setattr(DatasetWriter if place.startswith("_") else writing, place, die)
            with pytest.raises(Killed):
                writer.finish(ABOUT)
    for file in writer._files.values():
        file.close()
    refused(tmp_path / "data", METADATA)
    assert contents(write(tmp_path / "data").path) == contents(pristine)  # what is left does not disturb the next


def test_a_writer_that_fails_removes_its_raw_rows(tmp_path: Path) -> None:
    def fail() -> None:
        with DatasetWriter(tmp_path, S, A) as writer:
            writer.add(**steps(0), task=0, quality=0, seed=0)
            writer.add(**{**steps(0), "rewards": np.ones(3)}, task=0, quality=0, seed=0)

    with pytest.raises(UserError, match="trajectory 1"):
        fail()
    assert list(tmp_path.iterdir()) == []
    with DatasetWriter(tmp_path, S, A) as writer:
        writer.add(**steps(0), task=0, quality=0, seed=0)
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
        writer.add(**steps(0, length), task=0, quality=0, seed=0)
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
        calls.append(descriptor)
        if len(calls) == call + 1:
            raise OSError(28, os.strerror(28))

    writer = DatasetWriter(tmp_path, S, A)
    writer.add(**steps(0), task=0, quality=0, seed=0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match="no space left on the disk"):
            writer.finish(ABOUT)
    for file in writer._files.values():
        file.close()
    assert not (tmp_path / METADATA).exists()
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


# Damaged files


class Payload:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def missing(path: Path, proof: Path) -> None:
    path.unlink()


def truncated(path: Path, proof: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])  # JSON ends with a newline that it does not need


def flipped(path: Path, proof: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0x80  # in JSON: no longer UTF-8
    path.write_bytes(raw)


def text(path: Path, proof: Path) -> None:
    path.write_text("These are my notes.\nDo not lose them.\n")


def empty(path: Path, proof: Path) -> None:
    path.write_bytes(b"")


def pickled(path: Path, proof: Path) -> None:
    path.write_bytes(pickle.dumps(Payload(proof)))


def pickled_array(path: Path, proof: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, np.array([Payload(proof)], object), allow_pickle=True)


def zipped(path: Path, proof: Path) -> None:
    with open(path, "wb") as file:
        np.savez(file, observations=np.ones((4, S), np.float32))


def directory(path: Path, proof: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = [missing, truncated, flipped, text, empty, pickled, pickled_array, zipped, directory]


@pytest.mark.parametrize("name", [*FILES, METADATA])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named(folder: Path, tmp_path: Path, name: str, damage: Any) -> None:
    damage(folder / name, tmp_path / "proof")
    refused(folder, name)
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [truncated, text, empty, pickled, pickled_array, zipped])
def test_a_foreign_file_with_the_right_checksum_is_named(folder: Path, tmp_path: Path, name: str, damage: Any) -> None:
    damage(folder / name, tmp_path / "proof")
    sign(folder)
    refused(folder, name)
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize("name", FLAT)
def test_a_well_formed_array_that_does_not_belong_is_named(folder: Path, name: str) -> None:
    path = folder / f"{name}.npy"
    good = np.load(path)
    for odd in (
        good[:-1],
        good[..., None],
        good.astype(np.float64),
        good.astype("i4"),
        np.float32(1.0),
        good[:0],
        good.repeat(2, 0),
    ):
        np.save(path, odd)
        sign(folder)
        refused(folder, path.name)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("start", lambda a: a + 1),
        ("start", lambda a: a - 1),
        ("start", lambda a: a.astype(np.float64)),
        ("start", lambda a: np.full_like(a, 2**63 - 1)),
        ("start", lambda a: a[0]),
        ("length", lambda a: a * 0),
        ("length", lambda a: -a),
        ("length", lambda a: a + 2**40),
        ("task", lambda a: a[:-1]),
        ("task", lambda a: None),
        ("quality", lambda a: a + 1),
        ("quality", lambda a: a - 1),
        ("seed", lambda a: a[:, None]),
        ("terminated", lambda a: a.astype(np.int64)),
        ("final_observations", lambda a: a[:, :1]),
        ("final_observations", lambda a: a[:, 0]),
    ],
)
def test_an_index_that_does_not_fit_is_named(folder: Path, name: str, change: Any) -> None:
    from safetensors.numpy import load_file, save_file

    index = load_file(folder / INDEX)
    changed = change(index.pop(name))
    save_file(index if changed is None else {**index, name: np.ascontiguousarray(changed)}, folder / INDEX)
    sign(folder)
    refused(folder, INDEX)


def test_an_index_without_trajectories_is_named(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    save_file({name: array[:0] for name, array in load_file(folder / INDEX).items()}, folder / INDEX)
    sign(folder)
    refused(folder, INDEX)


@pytest.mark.parametrize("name", ["observations", "actions", "rewards"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_loading_refuses_what_is_not_finite(folder: Path, name: str, value: float) -> None:
    data = Dataset.open(folder)
    row = int(data.trajectories.start[4])
    del data
    array = np.load(folder / f"{name}.npy", mmap_mode="r+")
    array[row] = value
    array.flush()
    sign(folder)
    damaged = Dataset.open(folder)  # reads no more than it must
    with pytest.raises(UserError, match=f"non-finite number in {name} of trajectory 4 of the selection"):
        damaged.trajectories.loaded()
    damaged.trajectories.subset([0, 1, 2, 3, 5]).loaded()


# Damaged metadata


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"null", b"3", b"'x'", b"\xff\xfe{}", b"[" * 100_000, b"{}", b"1" * 5000, b'{"format": NaN}'],
)
def test_metadata_that_is_no_json_object(folder: Path, raw: bytes) -> None:
    (folder / METADATA).write_bytes(raw)
    refused(folder, METADATA)


TYPES = {
    "format": str,
    "suite": str,
    "qualities": list,
    "observation_dim": int,
    "action_dim": int,
    "trajectories": int,
    "steps": int,
    "files": dict,
}


@pytest.mark.parametrize("key", TYPES)
def test_metadata_with_a_wrong_type(folder: Path, key: str) -> None:
    good = json.loads((folder / METADATA).read_text())
    del good[key]
    wrong = [value for value in (None, [], {}, {"a": 1}, "3", 7, 2.5, True) if type(value) is not TYPES[key]]
    for changed in [good, *({**good, key: value} for value in [*wrong, [[]]])]:
        (folder / METADATA).write_text(json.dumps(changed))
        refused(folder, METADATA)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("observation_dim", "observations.npy"),
        ("action_dim", "actions.npy"),
        ("steps", "observations.npy"),
        ("trajectories", INDEX),
    ],
)
def test_metadata_with_a_wrong_number(folder: Path, key: str, name: str) -> None:
    for value in (-1, 0, 1, 2**70):
        edit(folder, lambda m, value=value: m.update({key: value}))
        refused(folder, name)


@pytest.mark.parametrize("key", ["references", "tasks", "sources", "collection"])
@pytest.mark.parametrize("value", [None, [], "x", 1, {"3": 1}, {"3": {"random": "low"}}])
def test_metadata_with_a_wrong_optional_entry(folder: Path, key: str, value: Any) -> None:
    edit(folder, lambda m: m.update({key: value}))
    if isinstance(value, dict) and (key == "collection" or (key != "references" and value["3"] != 1)):
        Dataset.open(folder)
    else:
        refused(folder, METADATA)


def test_another_version_is_told(folder: Path) -> None:
    edit(folder, lambda m: m.update(version=2))
    assert "version 2; this trajtune reads 1" in refused(folder, folder.name)


@pytest.mark.parametrize("name", FILES)
def test_metadata_cannot_leave_a_file_out(folder: Path, name: str) -> None:
    flipped(folder / name, folder)
    edit(folder, lambda m: m["files"].pop(name))
    refused(folder, METADATA)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "entry",
    [None, [], 1, {}, {"bytes": 1}, {"bytes": "9", "sha256": "x"}, {"sha256": None}, {"bytes": float("inf")}],
)
def test_metadata_with_a_wrong_file_entry(folder: Path, name: str, entry: Any) -> None:
    """Without a checksum there must be an error, and not a file that nobody checks."""
    partial = isinstance(entry, dict) and len(entry) == 1
    edit(folder, lambda m: m["files"].update({name: {**m["files"][name], **entry} if partial else entry}))
    if entry == {"bytes": 1}:
        refused(folder, name)
    else:
        refused(folder, METADATA)


def test_metadata_cannot_point_elsewhere(folder: Path, tmp_path: Path) -> None:
    original = Dataset.open(folder)
    (tmp_path / "secret").write_text("elsewhere")

    def redirect(metadata: dict[str, Any]) -> None:
        metadata["files"]["../secret"] = {"bytes": 1, "sha256": "x"}
        metadata["files"]["/"] = metadata["files"][".."] = {"bytes": 1, "sha256": "x"}

    edit(folder, redirect)
    assert_same(Dataset.open(folder), original)  # nobody looked there

    def replace(metadata: dict[str, Any]) -> None:
        metadata["files"]["../data/rewards.npy"] = metadata["files"].pop("rewards.npy")

    edit(folder, replace)
    refused(folder, METADATA)


def test_a_folder_that_is_no_dataset(tmp_path: Path) -> None:
    assert "is not a dataset" in refused(tmp_path, METADATA)
    assert "is not a dataset" in refused(tmp_path / "nothing", METADATA)
    (tmp_path / "file").write_text("a file")
    refused(tmp_path / "file", METADATA)


# Whatever the damage: the same data or a UserError, and nothing else


def outcome(folder: Path, verify: bool = True) -> Dataset | None:
    try:
        return Dataset.open(folder, verify)
    except UserError as error:
        one_line = "\n" not in str(error)
    assert one_line
    return None


@pytest.mark.parametrize("name", [METADATA, INDEX])
def test_every_truncation_is_found(folder: Path, pristine: Path, name: str) -> None:
    original, raw = Dataset.open(pristine), (folder / name).read_bytes()
    for end in [*range(0, len(raw), 11), len(raw) - 2, len(raw) - 1]:
        (folder / name).write_bytes(raw[:end])
        opened = outcome(folder)
        assert opened is None or (name == METADATA and end >= len(raw.rstrip()))
        if opened is not None:
            assert_same(opened, original)


@pytest.mark.parametrize("name", [METADATA, *FILES])
def test_no_flipped_byte_changes_the_data(folder: Path, pristine: Path, name: str) -> None:
    original, raw = Dataset.open(pristine), (folder / name).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(400 if name == METADATA else 40):
        damaged = bytearray(raw)
        damaged[rng.integers(len(raw))] ^= int(rng.integers(1, 256))
        (folder / name).write_bytes(damaged)
        opened = outcome(folder)
        if opened is not None:
            assert name == METADATA
            assert_same(opened, original)
            opened.qualities, opened.suite, [opened.references(task) for task in (3, 5, 7)]


@pytest.mark.parametrize("name", FILES)
def test_no_flipped_byte_of_a_header_is_a_traceback(folder: Path, name: str) -> None:
    """Without the checksums the headers are all there is to go by."""
    raw = (folder / name).read_bytes()
    header = 128 if name.endswith(".npy") else 8 + int.from_bytes(raw[:8], "little")
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(120):
        damaged = bytearray(raw)
        damaged[rng.integers(header)] ^= int(1 << rng.integers(8))
        (folder / name).write_bytes(damaged)
        found += outcome(folder, verify=False) is None
    assert found > 60


def test_messages_have_no_advice_to_trust_a_pickle(folder: Path, tmp_path: Path) -> None:
    pickled_array(folder / "actions.npy", tmp_path / "proof")
    sign(folder)
    assert not re.search("trust|allow_pickle", refused(folder, "actions.npy"))
