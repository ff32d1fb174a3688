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
from trajtune.processes import Pool, WorkerDiedError, count_workers, worker_pool

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """
import multiprocessing, sys, time
from trajtune.processes import worker_pool

def work(path):
    global lock
    lock = multiprocessing.RLock()  # as tqdm has one
    open(path, "w").close()
    time.sleep(600)

if __name__ == "__main__":
    with worker_pool(2) as run:
        list(run(work, sys.argv[1:]))
"""
DEADLINE = 120.0


class OddError(Exception):
    """One that does not survive a pipe."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


def die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def die_once(mark: Path) -> str:
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return mark.name


def fail_often(mark: Path) -> int:
    with mark.open("a") as file:
        file.write("x")
    if len(mark.read_text()) < 3:
        raise RuntimeError("not yet")
    return len(mark.read_text())


def refuse(mark: Path) -> None:
    with mark.open("a") as file:
        file.write("x")
    raise UserError("there is no such thing")


def leave(code: int) -> None:
    sys.exit(code)


def raise_odd(number: int) -> None:
    raise OddError(number, number)


def give_odd(number: int) -> object:
    return lambda: number


def threads(number: int) -> str | None:
    return os.environ.get("OMP_NUM_THREADS")


def test_results_come_in_order_and_workers_have_one_thread() -> None:
    with worker_pool(2) as run:
        assert list(run(abs, range(-5, 3))) == [5, 4, 3, 2, 1, 0, 1, 2]
        assert set(run(threads, range(2))) == {"1"}  # the same workers again
    assert multiprocessing.active_children() == []


def test_a_killed_worker_is_a_line_not_a_traceback() -> None:
    with pytest.raises(UserError, match=r"died of SIGKILL.*the same command goes on"), worker_pool(2) as run:
        list(run(die, range(4)))
    assert multiprocessing.active_children() == []


def test_only_the_job_of_a_dead_worker_knows_of_it() -> None:
    with Pool(2) as pool:
        found = {o.job: o for o in pool.outcomes(die_at_three, range(6), attempts=3)}
    assert [found[i].value for i in (0, 1, 2, 4, 5)] == [0, 1, 4, 16, 25]
    assert isinstance(found[3].error, WorkerDiedError)
    assert "SIGKILL" in str(found[3].error)
    assert multiprocessing.active_children() == []


def test_a_job_is_begun_again(tmp_path: Path) -> None:
    with Pool(1) as pool:
        [died] = pool.outcomes(die_once, [tmp_path / "once"], attempts=2)
        [failed] = pool.outcomes(fail_often, [tmp_path / "often"], attempts=3)
        [refused] = pool.outcomes(refuse, [tmp_path / "refused"], attempts=3)
    assert (died.value, died.error) == ("once", None)
    assert (failed.value, failed.error) == (3, None)
    assert isinstance(refused.error, UserError)
    assert (tmp_path / "refused").read_text() == "x"  # asked once: the answer would not change


def test_what_does_not_survive_a_pipe_is_said_in_words() -> None:
    with Pool(1) as pool:
        [error] = pool.outcomes(raise_odd, [7])
        [value] = pool.outcomes(give_odd, [7])
        [left] = pool.outcomes(leave, [7])
    assert str(error.error) == "OddError: 7 and 7"
    assert value.error is not None
    assert "pickle" in str(value.error)
    assert str(left.error) == "a worker process ended with exit code 7"


def run_script(folder: Path, text: str, *arguments: Path) -> subprocess.Popen[str]:
    script = folder / "script.py"
    script.write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), *map(str, arguments)]
    # A shell starts what it runs in the background deaf to Ctrl-C, and the tests may have been started like that.
    listen = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    return subprocess.Popen(
        command, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True, preexec_fn=listen
    )


def wait_for(files: list[Path]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not all(file.exists() for file in files):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_ctrl_c_does_not_wait_for_the_work_or_begin_more(tmp_path: Path) -> None:
    """A real process and a real signal, sent to the whole group as a terminal does."""
    files = [tmp_path / str(i) for i in range(4)]
    process = run_script(tmp_path, SCRIPT, *files)
    wait_for(files[:2])
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode != 0
    assert [file.exists() for file in files[2:]] == [False, False]
    assert said.count("Traceback") == 1  # the parent's own, which the command line turns into a line
    assert "semaphore" not in said
    assert "script.py" in said


def test_workers_do_not_outlive_their_parent(tmp_path: Path) -> None:
    files = [tmp_path / str(i) for i in range(2)]
    process = run_script(tmp_path, SCRIPT, *files)
    wait_for(files)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=DEADLINE)  # ends when the workers, too, have let go of standard error


def test_nothing_is_said_when_all_is_done(tmp_path: Path) -> None:
    _, said = run_script(
        tmp_path, SCRIPT.replace("sleep(600)", "sleep(0)"), tmp_path / "0", tmp_path / "1"
    ).communicate(timeout=DEADLINE)
    assert said == ""


def test_a_script_without_a_guard_is_told(tmp_path: Path) -> None:
    text = "from trajtune.processes import worker_pool\nwith worker_pool(2) as run:\n    list(run(abs, range(4)))\n"
    _, said = run_script(tmp_path, text).communicate(timeout=DEADLINE)
    assert "UserError: 3 workers in a row could not start" in said
    assert "if __name__ == '__main__'" in said


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs cores that a process can be held to")
def test_a_worker_a_core_that_may_be_used() -> None:
    allowed = os.sched_getaffinity(0)
    assert count_workers(0) == len(allowed) and count_workers(3) == 3
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert count_workers(0) == 1
    finally:
        os.sched_setaffinity(0, allowed)
