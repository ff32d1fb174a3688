"""Files of a dataset that are damaged, foreign or exchanged: one line that names the file, and nothing unpickled."""

import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.stores import Payload, S, assert_same, flipped, outcome, refused, sign, write
from trajtune.data.store import FILES, FLAT, INDEX, METADATA, Dataset
from trajtune.errors import UserError


def missing(path: Path, proof: Path) -> None:
    path.unlink()


def truncated(path: Path, proof: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])  # JSON ends with a newline that it does not need


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


def pipe(path: Path, proof: Path) -> None:
    """Whoever opens it waits for ever."""
    path.unlink()
    os.mkfifo(path)


def device(path: Path, proof: Path) -> None:
    """Whoever reads it never ends."""
    path.unlink()
    path.symlink_to("/dev/zero")


FOREIGN = [truncated, text, empty, pickled, pickled_array, zipped]
DAMAGES = [missing, flipped, directory, *FOREIGN]
if os.name == "posix":
    DAMAGES += [pipe, device]


@pytest.mark.parametrize("name", [*FILES, METADATA])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("verify", [True, False])
def test_a_damaged_file_is_named(folder: Path, tmp_path: Path, name: str, damage: Any, verify: bool) -> None:
    damage(folder / name, tmp_path / "proof")
    if verify or damage is not flipped or name == METADATA:
        refused(folder, name, verify)
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", FOREIGN)
def test_a_foreign_file_with_the_right_checksum_is_named(folder: Path, tmp_path: Path, name: str, damage: Any) -> None:
    damage(folder / name, tmp_path / "proof")
    sign(folder)
    assert not re.search("trust|allow_pickle", refused(folder, name))  # no advice to trust a pickle
    assert not (tmp_path / "proof").exists()


def odd(good: np.ndarray) -> list[np.ndarray]:
    kinds = [good.astype(np.float64), good.astype("i4"), np.float32(1.0)]
    return [good[:-1], good[..., None], good[:0], good.repeat(2, 0), *kinds]


@pytest.mark.parametrize("name", FLAT)
def test_a_well_formed_array_that_does_not_belong_is_named(folder: Path, name: str) -> None:
    path = folder / f"{name}.npy"
    for changed in odd(np.load(path)):
        np.save(path, changed)
        sign(folder)
        refused(folder, path.name)


def test_what_was_achieved_is_checked_as_the_rest(tmp_path: Path) -> None:
    path = write(tmp_path, achieved=True).path / "achieved.npy"
    good = np.load(path)
    for changed in [*odd(good), good[:, :1]]:
        np.save(path, changed)
        sign(tmp_path)
        refused(tmp_path, path.name)
    path.unlink()
    refused(tmp_path, path.name)


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
        ("final_observations", lambda a: a[:-1]),
        ("final_observations", lambda a: a.astype(np.float64)),
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


# Whatever the damage: the same data or a UserError, and nothing else


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
        if opened is not None:  # white space in the header
            assert name == METADATA and opened.metadata == original.metadata
            assert_same(opened, original)


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
