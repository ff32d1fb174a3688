"""Small files: old or new and never half, and whatever is read is checked."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from trajtune.errors import UserError
from trajtune.files import (
    JSON_LIMIT,
    differing,
    read_arrays,
    read_json,
    regular_size,
    remove_leftovers,
    write_arrays,
    write_atomically,
    write_json,
)

ROOT = Path(__file__).resolve().parents[1]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that must survive."""
    path = tmp_path / "thing.json"
    write_json(path, {"old": True})
    return path


# Writing


def test_write_atomically_replaces(path: Path) -> None:
    write_json(path, {"new": [1, 2.5, "é"]})
    assert read_json(path, "thing") == {"new": [1, 2.5, "é"]}
    assert names(path.parent) == ["thing.json"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_write_atomically_makes_the_folder(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b" / "c.json", {})
    assert read_json(tmp_path / "a" / "b" / "c.json", "thing") == {}


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(28, os.strerror(28)), "no space left on the disk"),
        (OSError(13, "Permission denied"), "Permission denied"),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), "no space left"),
        (RuntimeError("another"), None),
        (KeyboardInterrupt(), None),
    ],
)
def test_write_atomically_leaves_the_old_file(path: Path, error: BaseException, raised: str | None) -> None:
    def half(temporary: Path) -> None:
        temporary.write_text('{"ne')
        raise error

    with pytest.raises(UserError if raised else type(error)) as caught:
        write_atomically(path, half)
    if raised:
        assert raised in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert read_json(path, "thing") == {"old": True}
    assert names(path.parent) == ["thing.json"]


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
def test_write_atomically_leaves_the_old_file_when_the_last_steps_fail(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(UserError, match="no space left on the disk"):
            write_arrays(path, {"a": np.ones(3)})
    assert read_json(path, "thing") == {"old": True}
    assert names(path.parent) == ["thing.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_device_that_is_full(path: Path) -> None:
    with pytest.raises(UserError, match=f"cannot write {path}: no space left on the disk"):
        write_atomically(path, lambda temporary: Path("/dev/full").write_text("x") and None)
    assert read_json(path, "thing") == {"old": True}


def test_a_value_that_is_no_json_leaves_the_old_file(path: Path) -> None:
    with pytest.raises(TypeError):
        write_json(path, {"new": object()})
    assert read_json(path, "thing") == {"old": True} and names(path.parent) == ["thing.json"]


def test_a_file_in_the_place_of_a_folder(path: Path) -> None:
    with pytest.raises(UserError, match="cannot write"):
        write_json(path / "below.json", {})
    (path.parent / "folder").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        write_json(path.parent / "folder", {})
    assert names(path.parent) == ["folder", "thing.json"]


def test_remove_leftovers_takes_its_own_only(path: Path) -> None:
    left: list[Path] = []

    def note(temporary: Path) -> None:
        left.append(temporary.with_name(temporary.name))
        temporary.write_text("x")

    write_atomically(path, note)
    left[0].write_text("as a killed process leaves it")
    mine = [
        path.with_name(name)
        for name in (".thing.json", ".thing.json.swp", "thing.json.12345678", ".other.json.12345678")
    ]
    for file in mine:
        file.write_text("mine")
    before = path.read_text()
    remove_leftovers(path)
    assert path.read_text() == before
    assert names(path.parent) == sorted([path.name, *(file.name for file in mine)])


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_process_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from trajtune.files import write_json
number = 0
while True:
    number += 1
    write_json(Path(sys.argv[1]), {"number": number, "values": [number] * 50_000, "end": number})
    print(number, flush=True)
"""
    path = tmp_path / "thing.json"
    rng = random.Random(0)
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.05))  # anywhere in the next writes
        child.kill()
        rest = child.communicate()[0].split()
        value = json.loads(path.read_text())
        assert value["values"] == [value["number"]] * 50_000 and value["end"] == value["number"]
        assert value["number"] >= int(rest[-1] if rest else 1)  # what was reported as written is there
    remove_leftovers(path)
    assert names(tmp_path) == ["thing.json"]


# Reading


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "not readable as JSON"),
        (b'{"a": 1', "not readable as JSON"),
        (b"\xff\xfe", "not readable as JSON"),
        (b"[" * 100_000, "not readable as JSON"),
        (b'{"a": ' + b"1" * 5000 + b"}", "not readable as JSON"),
        (b"[1]", "does not describe an agent"),
        (b"null", "does not describe an agent"),
    ],
)
def test_read_json_refuses(path: Path, raw: bytes, words: str) -> None:
    path.write_bytes(raw)
    with pytest.raises(UserError, match=words) as caught:
        read_json(path, "agent")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_read_json_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a thing: it has no none\.json"):
        read_json(tmp_path / "none.json", "thing")
    with pytest.raises(UserError, match=str(tmp_path)):
        read_json(tmp_path, "thing")


def test_arrays_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.normal(size=(3, 4)).T,  # not contiguous
        "b": rng.normal(size=5).astype(np.float32)[::2],
        "c": np.array([True, False]),
        "d": np.array(7),
        "e": np.zeros((0, 3), np.int64),
    }
    write_arrays(tmp_path / "x.safetensors", arrays)
    found = read_arrays(tmp_path / "x.safetensors", "thing")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype and found[name].shape == array.shape


def test_read_arrays_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a complete thing: x\.safetensors is missing"):
        read_arrays(tmp_path / "x.safetensors", "thing")


@pytest.mark.parametrize("taught", [False, True])
@pytest.mark.parametrize("number", ["BF16", "F8_E4M3", "F8_E5M2", "C64"])
def test_read_arrays_refuses_numbers_that_numpy_lacks(tmp_path: Path, number: str, taught: bool) -> None:
    """Whether or not JAX has taught NumPy what they are."""
    if taught:
        pytest.importorskip("ml_dtypes")
    size = {"BF16": 16, "C64": 64}.get(number, 8)
    header = json.dumps({"a": {"dtype": number, "shape": [8], "data_offsets": [0, size]}}).encode()
    (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(size))
    with pytest.raises(UserError, match=r"x\.safetensors is damaged or not an agent file"):
        read_arrays(tmp_path / "x.safetensors", "agent")


def test_read_arrays_refuses_what_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_arrays(path, {"a": np.arange(6.0), "b": np.ones((2, 3), np.float32)})
    raw = path.read_bytes()
    header = 8 + int.from_bytes(raw[:8], "little")
    damaged = [raw[:end] for end in range(0, len(raw), 7)] + [b"text", b"\x80\x04.", raw + b"x"]
    for at in range(header):
        flipped = bytearray(raw)
        flipped[at] ^= 1 << at % 8
        damaged.append(bytes(flipped))
    refused: list[str] = []
    for content in damaged:
        path.write_bytes(content)
        try:
            read_arrays(path, "thing")
        except UserError as error:
            refused.append(str(error))
    assert all(str(path) in line and "\n" not in line for line in refused)
    assert len(refused) > 0.7 * len(damaged)


def test_read_arrays_refuses_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is damaged or not a thing file"):
        read_arrays(tmp_path, "thing")


@pytest.mark.skipif(os.name != "posix", reason="needs pipes and devices")
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_not_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing"
    if kind == "pipe":
        os.mkfifo(path)  # nobody writes: whoever opens it waits for ever
    else:
        path.symlink_to("/dev/zero")
    for read in (read_json, read_arrays):
        with pytest.raises(UserError, match="it is not a regular file") as caught:
            read(path, "thing")
        assert str(path) in str(caught.value)
    with pytest.raises(OSError, match="not a regular file"):
        regular_size(path)


def test_a_json_file_of_absurd_size_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "thing.json", "wb") as file:
        file.truncate(JSON_LIMIT + 1)  # takes no room on the disk
    with pytest.raises(UserError, match=f"it has {JSON_LIMIT + 1} bytes"):
        read_json(tmp_path / "thing.json", "thing")


def test_differing_names_what_differs_and_where() -> None:
    left = {"a": 1, "b": {"c": [1], "d": {"e": None}}, "f": 2.0, "g": {"h": 1}}
    assert differing(left, left) == []
    assert differing(left, {"a": 1, "b": {"c": [1], "d": {}}, "f": 2.0, "g": {"h": 1}}) == []  # None is nothing
    assert differing(left, {"a": 2, "b": {"c": [2], "d": {"e": 1, "x": 1}}, "g": 1}) == [
        "a",
        "b.c",
        "b.d.e",
        "b.d.x",
        "f",
        "g",
    ]
