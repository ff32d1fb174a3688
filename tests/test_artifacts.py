"""The life of a folder: claimed, finished, read, and what is edited, exchanged or another's."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from trajtune import artifacts
from trajtune.artifacts import (
    AGENT,
    DATASET,
    KINDS,
    MARK,
    claim,
    claimed,
    clear,
    finish,
    finished,
    kind_of,
    read_header,
    signature,
)
from trajtune.errors import UserError

RUN = {"seed": 0, "recipe": {"algorithm": "dpo", "training": {"steps": 5}}, "tasks": (1, 2)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An agent of one file."""
    path = tmp_path / "agent"
    path.mkdir()
    (path / "weights").write_text("these are they")
    finish(path, AGENT, {"run": RUN, "suite": "point"}, ["weights"])
    return path


def resign(folder: Path, **change: Any) -> None:
    """Change a header and give it the digest that it should have."""
    header = {**json.loads((folder / AGENT.header).read_text()), **change}
    header.pop("digest")
    (folder / AGENT.header).write_text(json.dumps({**header, "digest": signature(header)}))


def refused(folder: Path, kind: artifacts.Kind = AGENT, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read_header(folder, kind, **options)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    return str(caught.value)


# Finishing and reading


def test_a_header_comes_back(folder: Path) -> None:
    header = read_header(folder, AGENT)
    assert header["run"] == json.loads(json.dumps(RUN)) and header["suite"] == "point"
    assert header["format"] == "trajtune-agent" and header["version"] == AGENT.version
    assert header["files"] == {"weights": {"bytes": 14, "sha256": header["files"]["weights"]["sha256"]}}
    assert (
        finish(folder, AGENT, {"run": RUN, "suite": "point"}, ["weights"]) == header
    )  # what is returned is what is read


@pytest.mark.parametrize("name", ["format", "version", "files", "digest"])
def test_what_describes_a_run_cannot_be_what_the_header_says_of_itself(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"has {name} of its own"):
        finish(tmp_path, AGENT, {name: 1})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verify", [True, False])
def test_whatever_is_edited_is_found(folder: Path, verify: bool) -> None:
    good = json.loads((folder / AGENT.header).read_text())
    run = {**good["run"], "seed": 1}
    for change in ({"run": run}, {"suite": None}, {"files": {}}, {"more": 1}, {"digest": "0"}, {"digest": None}):
        (folder / AGENT.header).write_text(json.dumps({**good, **change}))
        assert "is damaged or was edited" in refused(folder, verify=verify)
    (folder / AGENT.header).write_text(json.dumps(dict(reversed(good.items())), indent=7))
    read_header(folder, AGENT)  # the order of the keys and the space between them say nothing


def test_an_exchanged_file_is_found(folder: Path) -> None:
    (folder / "weights").write_text("these are not!")
    assert "weights is damaged: its checksum" in refused(folder)
    read_header(folder, AGENT, verify=False)
    (folder / "weights").write_text("shorter")
    assert "weights is damaged: it has 7 bytes, its header says 14" in refused(folder, verify=False)
    (folder / "weights").unlink()
    assert "is not a complete agent: weights is missing" in refused(folder, verify=False)


@pytest.mark.skipif(os.name != "posix", reason="needs pipes and devices")
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_not_opened(folder: Path, kind: str) -> None:
    path = folder / "weights"
    path.unlink()
    {"pipe": os.mkfifo, "device": lambda p: p.symlink_to("/dev/zero"), "folder": Path.mkdir}[kind](path)
    resign(folder, files={"weights": {"bytes": 0, "sha256": "x"}})
    assert "weights cannot be read: it is not a regular file" in refused(folder)


@pytest.mark.parametrize("name", ["../other", "/etc/hostname", "..", "", "a/../../b", "a\0b"])
def test_a_header_cannot_point_elsewhere(folder: Path, name: str) -> None:
    resign(folder, files={name: {"bytes": 1, "sha256": "x"}})
    assert "its 'files' is missing or damaged" in refused(folder)


@pytest.mark.parametrize("files", [None, [], {"weights": None}, {"weights": {}}, {"weights": {"bytes": 14}}])
def test_files_that_are_none(folder: Path, files: Any) -> None:
    resign(folder, files=files)
    assert "its 'files' is missing or damaged" in refused(folder)


def test_a_file_may_lie_in_a_folder_below(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "x").write_text("x")
    finish(tmp_path, AGENT, {}, ["below/x"])
    read_header(tmp_path, AGENT)


def test_other_kinds_and_versions_are_told(folder: Path) -> None:
    assert "is not a dataset: it has no dataset.json" in refused(folder, DATASET)
    os.rename(folder / AGENT.header, folder / DATASET.header)
    assert "does not describe a trajtune dataset" in refused(folder, DATASET)
    os.rename(folder / DATASET.header, folder / AGENT.header)
    for version, remedy in ((1, "make it again"), (3, "update"), (None, "update"), ("2", "update")):
        resign(folder, version=version)
        assert f"has agent version {version}; this trajtune reads 2: {remedy}" in refused(folder)


def test_kind_of(folder: Path, tmp_path: Path) -> None:
    assert kind_of(folder) == AGENT
    (tmp_path / "half").mkdir()
    claim(tmp_path / "half", AGENT, {"seed": 0})
    unfinished = "it is unfinished, and the command that began it goes on with it"
    for empty, why in (
        (tmp_path, r"demo\.json$"),
        (folder / "weights", r"demo\.json$"),
        (tmp_path / "nothing", "there is no such folder"),
        (tmp_path / ("x" * 300), "there is no such folder"),
        (tmp_path / "half", unfinished),
    ):
        with pytest.raises(
            UserError, match=rf"holds nothing that trajtune made: it has none of agent\.json, delta.*{why}"
        ):
            kind_of(empty)
    assert f"is not an agent: it has no agent.json, {unfinished}" in refused(tmp_path / "half")
    assert "is not an agent: it has no agent.json, there is no such folder" in refused(tmp_path / "nothing")
    assert len({kind.header for kind in KINDS}) == len({kind.name for kind in KINDS}) == len(KINDS)


# Going on


def test_finished_is_this_very_run(folder: Path, tmp_path: Path) -> None:
    assert finished(tmp_path, AGENT, RUN) is None and finished(tmp_path / "nothing", AGENT, RUN) is None
    assert finished(folder, AGENT, RUN) == read_header(folder, AGENT)
    other = {**RUN, "seed": 1, "recipe": {"algorithm": "dpo", "training": {"steps": 6}}}
    with pytest.raises(UserError, match=r"already holds an agent with another recipe\.training\.steps, seed: choose"):
        finished(folder, AGENT, other)
    (folder / "weights").write_text("these are not!")
    with pytest.raises(UserError, match="weights is damaged"):
        finished(folder, AGENT, RUN)


@pytest.mark.parametrize("run", [[], 3, {"seed": 1}, None])
def test_a_header_without_this_run_is_another(folder: Path, run: Any) -> None:
    resign(folder, run=run)
    with pytest.raises(UserError, match="already holds an agent with another"):
        finished(folder, AGENT, RUN)


def test_claim_marks_a_folder_and_knows_its_own_mark(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    claim(folder, AGENT, RUN)
    assert [path.name for path in folder.iterdir()] == [MARK]
    (folder / "checkpoint").write_text("half")
    claim(folder, AGENT, RUN)
    with pytest.raises(UserError, match="holds an unfinished agent with another seed: choose another folder"):
        claim(folder, AGENT, {**RUN, "seed": 1})
    with pytest.raises(UserError, match="holds an unfinished agent, no dataset"):
        claim(folder, DATASET, RUN)


def test_a_run_cannot_change_what_kind_it_is(tmp_path: Path) -> None:
    claim(tmp_path, AGENT, {"kind": "dataset"})
    claim(tmp_path, AGENT, {"kind": "dataset"})
    with pytest.raises(UserError, match="no dataset"):
        claim(tmp_path, DATASET, {"kind": "dataset"})


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", AGENT.header, "experts"])
def test_claim_refuses_what_is_anothers(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match="already holds something else: choose another folder"):
        claim(tmp_path, AGENT, RUN)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    claim(tmp_path, AGENT, RUN, beside=[name])


def test_claim_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="already holds something else"):
        claim(tmp_path / "file", AGENT, RUN)
    with pytest.raises(UserError, match="cannot write"):
        claim(tmp_path / "file" / "below", AGENT, RUN)


def test_a_claim_that_was_killed_while_it_marked_disturbs_nobody(tmp_path: Path) -> None:
    (tmp_path / f".{MARK}.abcd1234").write_text('{"ki')
    claim(tmp_path, AGENT, RUN)
    assert [path.name for path in tmp_path.iterdir()] == [MARK]


def test_a_damaged_mark_is_named(tmp_path: Path) -> None:
    (tmp_path / MARK).write_text('{"ki')
    with pytest.raises(UserError, match=MARK):
        claim(tmp_path, AGENT, RUN)


@pytest.mark.parametrize("work", [False, True])
def test_what_fails_without_work_leaves_its_folder_free(tmp_path: Path, work: bool) -> None:
    def fail() -> None:
        with claimed(tmp_path, AGENT, RUN, ["checkpoint"]):
            assert (tmp_path / MARK).exists()
            if work:
                (tmp_path / "checkpoint").write_text("half")
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        fail()
    assert sorted(path.name for path in tmp_path.iterdir()) == (["checkpoint", MARK] if work else [])
    with claimed(None, AGENT, RUN):
        pass


def test_clear_takes_the_mark_and_the_work_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").write_text("mine")
    folder = tmp_path / "run"
    claim(folder, AGENT, RUN)
    (folder / "parts" / "deep").mkdir(parents=True)
    (folder / "parts" / "deep" / "x").write_text("x")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("checkpoint", "keep", ".keep.12345678"):
        (folder / name).write_text("x")
    clear(folder, ["parts", "link", "checkpoint", "never there"])
    assert [path.name for path in folder.iterdir()] == ["keep"]
    assert (tmp_path / "elsewhere" / "mine").exists()
    (folder / "checkpoint").write_text("mine")
    clear(folder, ["checkpoint"])  # without a mark it is not a run's
    assert (folder / "checkpoint").exists()


def test_an_agent_of_version_one_says_so(tmp_path: Path) -> None:
    """Its header had another name; it is one clear line all the same."""
    (tmp_path / "config.json").write_text('{"format": "trajtune-agent", "version": 1}')
    assert kind_of(tmp_path) == AGENT
    with pytest.raises(UserError, match="has agent version 1; this trajtune reads 2: make it again"):
        read_header(tmp_path, AGENT)
