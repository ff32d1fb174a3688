"""Killed and run again: a collection goes on from what is there, and ends with the bits of an uninterrupted one."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.experts.collecting import CONFIG, HEADER, ONE, Killed, Mortal, contents
from trajtune.data.store import Dataset
from trajtune.errors import UserError
from trajtune.experts import collect as collecting
from trajtune.experts.collect import collect

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_collection_goes_on(expected: dict[str, bytes], tmp_path: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from trajtune.experts.collect import collect
from trajtune.experts.config import CollectConfig

def progress(what, done, total, metrics={}):
    print(what, done, flush=True)
    time.sleep(60)

config = CollectConfig("point", (4, 9), trajectories=3, experts="scripted", seed=5)
collect(config, Path(sys.argv[1]), progress=progress)
"""
    folder = tmp_path / "data"
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == "recording tasks 1"
        child.kill()
    assert child.returncode == -signal.SIGKILL
    with pytest.raises(UserError, match="is not a dataset"):
        Dataset.open(folder)
    done = {name: (folder / name).stat().st_mtime_ns for name in contents(folder) if name.startswith("parts/004")}
    assert len(done) == 5  # two qualities of two files each, and the reference returns
    still: dict[str, int] = {}

    def look(*step: Any) -> None:
        still.update({name: (folder / name).stat().st_mtime_ns for name in done})

    collect(CONFIG, folder, progress=look)
    assert still == done  # the first task was not recorded again
    assert contents(folder) == expected


def test_killed_at_any_change_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every single one, the folder is either no dataset or the finished one, and running again completes it."""
    with monkeypatch.context() as patch:
        clean = Mortal(patch, 10**9)
        collect(ONE, tmp_path / "clean")
    expected = contents(tmp_path / "clean")
    assert clean.changes > 20
    for deadly in range(clean.changes):
        folder = tmp_path / str(deadly)
        with monkeypatch.context() as patch:
            Mortal(patch, deadly)
            with pytest.raises(Killed):
                collect(ONE, folder)
        if (folder / HEADER).exists():
            Dataset.open(folder)
        collect(ONE, folder)
        assert contents(folder) == expected, f"killed before change {deadly}"
        assert [path for path in folder.iterdir() if path.is_dir()] == []


def test_a_damaged_part_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*args: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(collecting, "_assemble", die)
        with pytest.raises(Killed):
            collect(ONE, tmp_path)
    (tmp_path / "parts" / "009-medium-0000.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(UserError, match=r"009-medium-0000\.safetensors is damaged"):
        collect(ONE, tmp_path)
    assert not (tmp_path / HEADER).exists() and list(tmp_path.glob("*.bin")) == []
