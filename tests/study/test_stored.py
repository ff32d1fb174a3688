"""Packs: the same results as in the folder, the same bytes every time, and a clear line for anything else."""

import hashlib
import json
import lzma
import shutil
from pathlib import Path
from typing import Any

import pytest

from trajtune.artifacts import STUDY, read_header
from trajtune.data.setting import Setting
from trajtune.errors import UserError
from trajtune.study import stored
from trajtune.study.declaration import Study
from trajtune.study.runners import run_study
from trajtune.study.stored import RESULTS, pack, read_pack, read_results, unpack
from trajtune.training.config import Recipe


@pytest.fixture(scope="module")
def folder(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stored") / "out"
    run_study(study, out)
    return out


@pytest.fixture
def packed(folder: Path, tmp_path: Path) -> Path:
    pack(folder, tmp_path / "pack.jsonl.xz")
    return tmp_path / "pack.jsonl.xz"


def text_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in lzma.decompress(path.read_bytes()).splitlines()]


def written(path: Path, head: dict[str, Any], lines: list[Any]) -> Path:
    """A pack whose checksum is right, whatever it says."""
    body = "".join(json.dumps(line) + "\n" for line in lines).encode()
    head = {**head, "sha256": hashlib.sha256(body).hexdigest()}
    path.write_bytes(lzma.compress(json.dumps(head).encode() + b"\n" + body))
    return path


def test_it_is_read_as_the_folder_is(folder: Path, packed: Path) -> None:
    assert read_results(packed) == read_results(folder)


def test_the_same_results_make_the_same_bytes(folder: Path, packed: Path, tmp_path: Path) -> None:
    assert pack(folder, tmp_path / "again") == 8
    assert (tmp_path / "again").read_bytes() == packed.read_bytes()


def test_unpacked_it_is_the_folder_to_the_byte_and_the_study_goes_on(
    study: Study, folder: Path, packed: Path, tmp_path: Path
) -> None:
    assert unpack(packed, tmp_path / "back") == 8
    files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.json")}
    back = tmp_path / "back"
    assert {path.relative_to(back): path.read_bytes() for path in back.rglob("*") if path.is_file()} == files
    next(back.glob(RESULTS)).unlink()
    before = {path: path.stat().st_mtime_ns for path in back.glob(RESULTS)}
    run_study(study, back)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(read_results(back)) == 8


def test_an_unfinished_unpacking_goes_on(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trajtune.study import stored

    back, write, count = tmp_path / "back", stored.write_json, iter(range(3))

    def fails(path: Path, value: Any) -> None:
        if next(count, None) is None:
            raise KeyboardInterrupt
        write(path, value)

    with monkeypatch.context() as patched:
        patched.setattr(stored, "write_json", fails)
        with pytest.raises(KeyboardInterrupt):
            unpack(packed, back)
    assert not (back / STUDY.header).exists() and len(list(back.glob(RESULTS))) == 3
    assert unpack(packed, back) == 8
    assert read_results(back) == read_results(packed) and read_header(back, STUDY)


def test_an_unpacking_that_fails_goes_on(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk: what is there stays, and the folder stays ours."""
    from trajtune.study import stored

    back, write, count = tmp_path / "back", stored.write_json, iter(range(5))

    def fails(path: Path, value: Any) -> None:
        if next(count, None) is None:
            raise UserError(f"cannot write {path}: no space left on the disk")
        write(path, value)

    with monkeypatch.context() as patched:
        patched.setattr(stored, "write_json", fails)
        with pytest.raises(UserError, match="no space left"):
            unpack(packed, back)
    assert len(list(back.glob(RESULTS))) == 5
    assert unpack(packed, back) == 8
    assert read_results(back) == read_results(packed)


def test_nobodys_file_is_written_over(folder: Path, packed: Path, tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.tex"
    thesis.write_text("years of work")
    with pytest.raises(UserError, match="already holds something else, not a pack: choose another file"):
        pack(folder, thesis)
    assert thesis.read_text() == "years of work"
    assert pack(folder, packed) == 8  # its own it may


def test_a_pack_has_room_for_every_suite(folder: Path, tmp_path: Path) -> None:
    """As a cell's folder is named after them."""
    from trajtune.study.cell import Cell
    from trajtune.study.stored import PLACE

    for suite in ("gym:HalfCheetah-v5", "gym:ns/Env-v0", "metaworld-ml45"):
        cell = Cell(suite, Setting(None, 5, target=-1.5), 3, Recipe("qp-sft", "full"), "alpha=0.1")
        assert PLACE.fullmatch(f"{cell.folder.as_posix()}/task-7.json")
    out = tmp_path / "odd"
    shutil.copytree(folder, out)
    (out / "point").rename(out / ".point")
    with pytest.raises(UserError, match="lies in a folder that no study has"):
        pack(out, tmp_path / "pack")


def test_what_is_there_is_left_alone(folder: Path, packed: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="already holds a study"):
        unpack(packed, folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="already holds something else"):
        unpack(packed, tmp_path / "mine")


def test_a_result_that_was_edited_is_not_packed(study: Study, packed: Path, tmp_path: Path) -> None:
    unpack(packed, tmp_path / "back")
    path = next((tmp_path / "back").glob(RESULTS))
    path.write_text(path.read_text().replace('"return"', '"success"', 1))
    with pytest.raises(UserError, match="damaged or was edited"):
        pack(tmp_path / "back", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_result_that_was_edited_in_a_pack_is_found(packed: Path, tmp_path: Path) -> None:
    head, *lines = text_of(packed)
    lines[0][1]["mean_return"] = 1e6
    with pytest.raises(UserError, match=r"odd: point/.*/task-10.json is damaged or was edited"):
        read_results(written(tmp_path / "odd", head, lines))


@pytest.mark.parametrize(
    "place",
    ["../../x/y/seed-0/task-1.json", "/a/b/c/seed-0/task-1.json", "a/../b/seed-0/task-1.json", "a/b/c/seed-0/x", 3, ""],
)
def test_no_result_leaves_the_folder(packed: Path, tmp_path: Path, place: Any) -> None:
    head, *lines = text_of(packed)
    odd = written(tmp_path / "odd", head, [[place, lines[0][1]]])
    with pytest.raises(UserError, match="in a place where none belongs"):
        unpack(odd, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_anything_else_is_one_line(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = packed.read_bytes()
    head, *lines = text_of(packed)
    plain = lzma.decompress(whole)
    odd = tmp_path / "odd"
    for content, message in (
        (b"", "is cut off"),
        (whole[:-40], "damaged, or no pack"),
        (whole[:200], "is cut off"),
        (b"PK\x03\x04" + whole, "damaged, or no pack"),
        (lzma.compress(b"[1]\n"), "is no pack of results"),
        (lzma.compress(b"\xff\xfe\n"), "damaged, or no pack"),
        (lzma.compress(b"[" * 100_000), "damaged, or no pack"),
        (lzma.compress(plain[:-1] + b" "), "does not match its own checksum"),
        (
            lzma.compress(plain.replace(b'"version": 1', b'"version": 9', 1)),
            "has pack version 9; this trajtune reads 1",
        ),
    ):
        odd.write_bytes(content)
        with pytest.raises(UserError, match=message) as refused:
            read_results(odd)
        assert str(odd) in str(refused.value) and len(str(refused.value).splitlines()) == 1
    for header, message in (({}, "does not describe"), ({**head["header"], "study": {}}, "damaged or was edited")):
        with pytest.raises(UserError, match=message):
            read_pack(written(odd, {**head, "header": header}, lines))
    monkeypatch.setattr("trajtune.study.stored.LIMIT", 1000)
    with pytest.raises(UserError, match="what it holds is too large"):
        read_pack(packed)


def test_a_bomb_is_not_unpacked_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "LIMIT", 1 << 26)
    bomb = tmp_path / "bomb"
    compressor = lzma.LZMACompressor(preset=1)
    with bomb.open("wb") as file:
        for _ in range(5):  # of 16 MB each
            file.write(compressor.compress(bytes(1 << 24)))
        file.write(compressor.flush())
    with pytest.raises(UserError, match="too large"):
        read_pack(bomb)


def test_a_folder_without_results_is_not_packed(study: Study, tmp_path: Path) -> None:
    from trajtune.artifacts import finish

    finish(tmp_path, STUDY, {"study": study.to_json()})
    with pytest.raises(UserError, match="has no results yet"):
        pack(tmp_path, tmp_path / "pack")
