"""The header of a dataset: what is edited is found, and one that was signed again is still checked."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.data.stores import assert_same, edit, flipped, refused, resign
from trajtune.data.store import FILES, INDEX, METADATA, Dataset


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"null", b"3", b"'x'", b"\xff\xfe{}", b"[" * 100_000, b"{}", b"1" * 5000, b'{"format": NaN}'],
)
def test_metadata_that_is_no_json_object(folder: Path, raw: bytes) -> None:
    (folder / METADATA).write_bytes(raw)
    refused(folder, METADATA)


@pytest.mark.parametrize(
    "change",
    [
        {"references": {"3": {"random": -31.0, "expert": -3.0}}},
        {"qualities": ["medium", "expert"]},
        {"suite": "cheetah-vel"},
        {"command": "another"},
        {"digest": "0" * 64},
        {"digest": None},
    ],
)
def test_whatever_is_edited_is_found(folder: Path, change: dict[str, Any]) -> None:
    header = json.loads((folder / METADATA).read_text())
    (folder / METADATA).write_text(json.dumps({**header, **change}))
    assert "is damaged or was edited" in refused(folder, METADATA)


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
        resign(folder, changed)
        refused(folder, METADATA)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("observation_dim", "observations.npy"),
        ("action_dim", "actions.npy"),
        ("steps", "observations.npy"),
        ("trajectories", INDEX),
        ("achieved_dim", METADATA),
    ],
)
def test_metadata_with_a_wrong_number(folder: Path, key: str, name: str) -> None:
    for value in (-1, 0, 1, 2**70):
        edit(folder, lambda m, value=value: m.update({key: value}))
        if (key, value) != ("achieved_dim", 0):
            refused(folder, name)


@pytest.mark.parametrize("key", ["references", "tasks", "sources", "run"])
@pytest.mark.parametrize("value", [None, [], "x", 1, {"3": 1}, {"3": {"random": "low"}}])
def test_metadata_with_a_wrong_optional_entry(folder: Path, key: str, value: Any) -> None:
    edit(folder, lambda m: m.update({key: value}))
    if isinstance(value, dict) and (key == "run" or (key != "references" and value["3"] != 1)):
        Dataset.open(folder)
    else:
        refused(folder, METADATA)


@pytest.mark.parametrize("found", [1, 3, None])
def test_another_version_is_told(folder: Path, found: int | None) -> None:
    edit(folder, lambda m: m.update(version=found))
    remedy = "make it again with this version" if found == 1 else "update"
    assert f"has dataset version {found}; this trajtune reads 2: {remedy}" in refused(folder, folder.name)


def test_a_folder_of_the_first_version_is_one_clear_line(folder: Path) -> None:
    """It had neither a digest nor the dimension of what was achieved."""
    header = json.loads((folder / METADATA).read_text())
    old = {name: value for name, value in header.items() if name not in ("digest", "achieved_dim")}
    (folder / METADATA).write_text(json.dumps({**old, "version": 1}))
    assert "has dataset version 1; this trajtune reads 2: make it again" in refused(folder, folder.name)


@pytest.mark.parametrize("name", FILES)
def test_metadata_cannot_leave_a_file_out(folder: Path, name: str) -> None:
    flipped(folder / name)
    edit(folder, lambda m: m["files"].pop(name))
    assert f"does not name {name}" in refused(folder, METADATA)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "entry",
    [None, [], 1, {}, {"bytes": 1}, {"bytes": "9", "sha256": "x"}, {"sha256": None}, {"bytes": float("inf")}],
)
def test_metadata_with_a_wrong_file_entry(folder: Path, name: str, entry: Any) -> None:
    """Without a checksum there must be an error, and not a file that nobody checks."""
    partial = isinstance(entry, dict) and len(entry) == 1
    edit(folder, lambda m: m["files"].update({name: {**m["files"][name], **entry} if partial else entry}))
    refused(folder, name if entry == {"bytes": 1} else METADATA)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "..", "/", "", "a/../../secret", "a\0b"])
def test_metadata_cannot_point_elsewhere(folder: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("elsewhere")
    edit(folder, lambda m: m["files"].update({name: {"bytes": 9, "sha256": "x"}}))
    refused(folder, METADATA)


def test_a_signed_header_of_the_same_data_opens(folder: Path, pristine: Path) -> None:
    """The tests above fail because of what they change, and not because they change something."""
    edit(folder, lambda m: m.update(remark="mine"))
    assert_same(Dataset.open(folder), Dataset.open(pristine))


def test_a_folder_that_is_no_dataset(tmp_path: Path) -> None:
    assert "is not a dataset" in refused(tmp_path, METADATA)
    assert "is not a dataset" in refused(tmp_path / "nothing", METADATA)
    (tmp_path / "file").write_text("a file")
    refused(tmp_path / "file", METADATA)
