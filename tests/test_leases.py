"""Leases: one holder at a time, none for ever, whatever becomes of who holds one."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trajtune import leases
from trajtune.errors import UserError
from trajtune.leases import PATIENCE, holder, lease

HOLD = """
import sys, time
from pathlib import Path
from trajtune.leases import lease
with lease(Path(sys.argv[1])) as mine:
    print(mine, flush=True)
    time.sleep(600)
"""


def stale(path: Path) -> None:
    old = time.time() - PATIENCE - 5
    os.utime(path, (old, old))


def foreign(path: Path) -> None:
    """A lease of a process on another machine."""
    path.write_text(json.dumps({"host": "elsewhere", "process": 1, "token": "t", "since": time.time()}))


def test_one_has_it_and_it_is_free_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "lease"
    assert holder(path) is None
    with lease(path) as mine:
        assert mine
        with lease(path) as second:
            assert not second
        found = holder(path)
        assert found is not None and found.host == socket.gethostname() and found.process == os.getpid()
        assert f"process {os.getpid()} on" in str(found)
    assert holder(path) is None and list(path.parent.iterdir()) == []


def test_it_is_free_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine"), lease(tmp_path / "a"):
        raise ValueError("mine")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_holder_on_this_machine_is_found_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "True\n"
    with lease(path) as mine:
        assert not mine
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert path.exists() and holder(path) is None
    with lease(path) as mine:
        assert mine
    assert list(tmp_path.iterdir()) == []


def test_another_machine_holds_it_as_long_as_it_is_touched(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    foreign(path)
    found = holder(path)
    assert found is not None and found.host == "elsewhere" and 0 <= found.seconds < 60
    with lease(path) as mine:
        assert not mine
    stale(path)
    assert holder(path) is None
    with lease(path) as mine:
        assert mine
    assert list(tmp_path.iterdir()) == []


def test_who_holds_it_touches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "PATIENCE", 0.06)
    path = tmp_path / "lease"
    with lease(path):
        old = path.stat().st_mtime_ns
        deadline = time.monotonic() + 60
        while path.stat().st_mtime_ns == old and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime_ns > old


def test_what_another_took_over_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    with lease(path) as mine:
        assert mine
        foreign(path)  # this process had stood still for too long
    assert json.loads(path.read_text())["host"] == "elsewhere"


def test_who_comes_second_to_a_stale_one_gives_it_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looked stale, and was taken over before it could be moved away."""
    path = tmp_path / "lease"
    foreign(path)
    answers = iter([None])  # the first look says stale; later ones look
    look = leases.holder
    monkeypatch.setattr(leases, "holder", lambda p: next(answers, look(p)) if p == path else look(p))
    with lease(path) as mine:
        assert not mine
    assert json.loads(path.read_text())["host"] == "elsewhere"
    assert [each.name for each in tmp_path.iterdir()] == ["lease"]


ODD = (
    "[" * 4000,
    '{"host": "a", "token": "b", "since": 0, "process": 1e999}',
    '{"host": "a", "token": "b", "process": 1, "since": ' + "9" * 400 + "}",
)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": 1}', "x" * 5000, '{"host": "a", "process": "b"}', *ODD])
def test_one_that_cannot_be_understood_is_held_until_it_is_stale(tmp_path: Path, content: str) -> None:
    path = tmp_path / "lease"
    path.write_text(content)
    found = holder(path)
    assert found is not None and found.host == "?"
    stale(path)
    with lease(path) as mine:
        assert mine


def test_a_pipe_in_its_place_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lease")
    with lease(tmp_path / "lease") as mine:
        assert not mine


def test_where_nothing_can_be_written_a_line_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"), lease(tmp_path / "file" / "lease"):
        pass


def test_a_folder_that_may_only_be_read_can_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign(tmp_path / "lease")

    def refuse(*arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "touch", refuse)
    assert holder(tmp_path / "lease") is not None
    stale(tmp_path / "lease")
    assert holder(tmp_path / "lease") is None
