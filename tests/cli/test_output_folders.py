"""Output folders that hold something else, cannot be written, or lie on a disk that is full."""

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import (
    DELTA,
    Capture,
    collect,
    contents,
    copy,
    finetune,
    merge,
    one_line,
    pretrain,
    run,
    write_dataset,
)
from tests.cli.conftest import Refuse
from trajtune.data.store import Dataset

FULL = ["--tuning", "full", "--algorithm", "sft"]


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "delta.safetensors", "adapter_model.safetensors", "sub/file"])
def test_one_that_holds_something_else(
    refuse: Refuse, point_agent_folder: Path, point_data: Dataset, delta: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("mine")
    for command in (
        collect(out),
        pretrain(point_data.path, out),
        finetune(point_agent_folder, point_data.path, out),
        merge(point_agent_folder, full_delta(point_agent_folder, point_data, tmp_path), out),
    ):
        refuse(command, f"{out} already holds something else: choose another folder")


def full_delta(agent: Path, data: Dataset, tmp_path: Path) -> Path:
    assert run(finetune(agent, data.path, tmp_path / "full", *FULL)) == 0
    return tmp_path / "full"


def test_one_that_holds_another_result(
    refuse: Refuse, point_agent_folder: Path, point_data: Dataset, delta: Path, tmp_path: Path
) -> None:
    agent, data = copy(point_agent_folder, tmp_path / "agent"), point_data.path
    other = copy(delta, tmp_path / "delta")
    small = write_dataset(tmp_path / "data", "point", 2, 2)
    full = full_delta(agent, point_data, tmp_path)
    for out in (agent, other, small):
        refuse(collect(out), out, "already holds")
        refuse(pretrain(data, out), out, "already holds")
        refuse(finetune(agent, data, out, "--seed", 1), out, "already holds")
        refuse(merge(agent, full, out), out, "already holds")
    refuse(finetune(agent, data, agent), agent, "already holds")
    refuse(finetune(agent, data, other, "--seed", 1), "already holds a delta with another", "seed")
    refuse(pretrain(small, small, "--tasks", "all"), small, "already holds")


@pytest.mark.parametrize("mark", ["unfinished.json", "checkpoint.safetensors"])
def test_one_of_another_unfinished_run(
    refuse: Refuse, point_agent_folder: Path, point_data: Dataset, tmp_path: Path, mark: str
) -> None:
    for number, content in enumerate((b'{"seed": 7}', b"", b"[1]")):
        out = tmp_path / str(number)
        out.mkdir()
        (out / mark).write_bytes(content)
        for command in (
            collect(out),
            pretrain(point_data.path, out),
            finetune(point_agent_folder, point_data.path, out),
        ):
            refuse(command, out)


def test_one_that_is_none(refuse: Refuse, point_agent_folder: Path, point_data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    full = full_delta(point_agent_folder, point_data, tmp_path)
    for out in (tmp_path / "file", tmp_path / "file" / "below", Path("/dev/null"), Path("/proc/nothing")):
        refuse(collect(out), out)
        refuse(pretrain(point_data.path, out), out)
        refuse(finetune(point_agent_folder, point_data.path, out), out)
        refuse(merge(point_agent_folder, full, out), out)


def test_one_without_the_right_to_write(
    refuse: Refuse, point_agent_folder: Path, point_data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated, because root may write anywhere."""

    def denied(*arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tempfile, "mkstemp", denied)
    out = tmp_path / "out"
    out.mkdir()
    refuse(collect(out), out, "Permission denied")
    refuse(pretrain(point_data.path, out), out, "Permission denied")
    refuse(finetune(point_agent_folder, point_data.path, out), out, "Permission denied")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = os.geteuid() == 0 and (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False)
    )
    if not mounted or mounted.returncode:
        pytest.skip("only root can mount a small disk; the simulated one is tested below")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk(
    point_agent_folder: Path, point_data: Dataset, tiny_disk: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tiny_disk / "out"
    steps = ["--steps", 101, "--batch", 2, *FULL]
    commands = {
        "collect": collect(out, "--trajectories", 100),
        "pretrain": ["pretrain", "--data", point_data.path, "--out", out, "--steps", 4, "--batch", 4],
        "finetune": finetune(point_agent_folder, point_data.path, out, *steps),
    }
    for name, command in commands.items():
        code = run(command)
        captured = capsys.readouterr()
        one_line(code, captured.out, captured.err, out, "no space left on the disk")
        left = contents(out)
        assert not any(key.startswith(".") for key in left), left
        assert not left.keys() & {"agent.json", "delta.json", "dataset.json"}, left
        # With room, the same command goes on.
        subprocess.run(["mount", "-o", "remount,size=64m", tiny_disk], check=True)
        assert run(command) == 0, name
        capsys.readouterr()
        subprocess.run(["rm", "-r", out], check=True)
        subprocess.run(["mount", "-o", "remount,size=64k", tiny_disk], check=True)


def test_a_disk_that_fills_up_keeps_the_last_checkpoint(
    point_agent_folder: Path,
    point_data: Dataset,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Simulated: the first checkpoint is written, nothing after it is."""
    out = tmp_path / "out"
    command = finetune(point_agent_folder, point_data.path, out, "--steps", 201, "--batch", 2, *FULL)
    genuine = os.fsync

    def full(*arguments: Any) -> Any:
        if (out / "checkpoint.safetensors").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return genuine(*arguments)

    kept: dict[str, bytes | None] = {}
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for _ in range(2):  # the second time it goes on from the checkpoint, and fails as it did
            capsys.readouterr()
            code = run(command)
            captured = capsys.readouterr()
            one_line(code, captured.out, captured.err, out / "checkpoint.safetensors", "no space left on the disk")
            assert list(contents(out)) == ["checkpoint.safetensors", "log.jsonl", "unfinished.json"]
            assert not kept or contents(out) == kept
            kept = contents(out)
    assert run(command) == 0
    assert sorted(contents(out)) == DELTA


def test_a_full_disk_leaves_a_finished_dataset(refuse: Refuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_dataset(tmp_path / "data", "point", 2, 2)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    refuse(collect(data), data, "already holds a dataset")
    (tmp_path / "out").mkdir()
    refuse(collect(tmp_path / "out"), tmp_path / "out", "no space left on the disk")
