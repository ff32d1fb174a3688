"""Worker processes that end, one way or another."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trajtune.errors import UserError
from trajtune.processes import worker_pool

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """
import sys, time
from trajtune.processes import worker_pool

def work(path):
    open(path, "w").close()
    time.sleep(600)

if __name__ == "__main__":
    with worker_pool(2) as run:
        list(run(work, sys.argv[1:]))
"""


def die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_a_line_not_a_traceback() -> None:
    with pytest.raises(UserError, match="a worker process died"), worker_pool(2) as run:
        list(run(die, range(4)))
    assert multiprocessing.active_children() == []


def test_ctrl_c_does_not_wait_for_the_work_or_begin_more(tmp_path: Path) -> None:
    """A real process and a real signal, sent to the whole group as a terminal does."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    files = [tmp_path / str(i) for i in range(4)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), *map(str, files)]
    process = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (files[0].exists() and files[1].exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) != 0
    assert [file.exists() for file in files[2:]] == [False, False]
