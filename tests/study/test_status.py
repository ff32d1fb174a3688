"""How far a study is: what it says of a folder before, during and after, and of several drivers at once."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.study.test_local import ROOT, SCRIPT, files_of, numbers
from trajtune.artifacts import STUDY, finish
from trajtune.errors import UserError
from trajtune.leases import lease
from trajtune.study.declaration import Method, Study
from trajtune.study.jobs import LEASES
from trajtune.study.results import read_result, write_result
from trajtune.study.runners import run_study
from trajtune.study.status import _seconds, status_of
from trajtune.study.stored import RESULTS, read_results


def test_before_during_and_after(study: Study, tmp_path: Path) -> None:
    study = replace(study, methods=(Method(("sft", "dpo"), ("full",)),))  # which warm no critic up
    finish(tmp_path, STUDY, {"study": study.to_json()})
    begun = status_of(tmp_path)
    assert (begun.runs, begun.done, begun.seconds_left, begun.running, begun.failed) == (8, 0, None, {}, {})
    run_study(study, tmp_path)
    done = status_of(tmp_path)
    assert (done.done, done.seconds_left, done.others) == (8, 0.0, 0)
    assert not (tmp_path / LEASES).exists()

    paths = sorted(tmp_path.glob(RESULTS))
    write_result(paths[0], replace(read_result(paths[0]), failed="a worker process died of SIGKILL"))
    place = paths[1].relative_to(tmp_path).with_suffix("").as_posix()
    paths[1].unlink()
    for number, path in enumerate(paths[2:]):
        os.utime(path, (1e9 + 10 * number, 1e9 + 10 * number))
    with lease(tmp_path / LEASES / place):
        during = status_of(tmp_path)
    assert during.done == 6
    lost = paths[0].relative_to(tmp_path).with_suffix("").as_posix()
    assert during.failed == {lost: "a worker process died of SIGKILL"}
    assert during.running[place].process == os.getpid()
    assert during.seconds_left == pytest.approx(20.0)  # two left, ten seconds each


def test_pauses_are_left_out_of_the_pace() -> None:
    """Results every ten seconds but for a night, and some that came out of a pack."""
    times = [0.0] * 50 + [1e9 + 10 * n for n in range(5)] + [2e9 + 10 * n for n in range(5)]
    assert _seconds(times, 3) == pytest.approx(30.0)
    assert _seconds([0.0] * 50, 3) is None and _seconds([1e9], 3) is None
    assert _seconds(times, 0) == 0.0


def test_results_of_cells_that_are_not_declared_are_told_apart(study: Study, tmp_path: Path) -> None:
    run_study(study, tmp_path)
    finish(
        tmp_path, STUDY, {"study": replace(study, methods=(Method(("sft",), ("full",), learning_rate=1e-3),)).to_json()}
    )
    found = status_of(tmp_path)
    assert (found.runs, found.done, found.others) == (6, 6, 2)


def test_a_folder_of_something_else_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a study"):
        status_of(tmp_path)


def test_two_drivers_share_a_folder_and_one_is_killed(study: Study, tmp_path: Path) -> None:
    """The second makes good what the first was at when it was killed, and no result is written twice."""
    more = replace(study, methods=(Method(("sft", "dpo"), ("full", "prompt", "decorator")),))
    file, script, out = tmp_path / "study.yaml", tmp_path / "script.py", tmp_path / "out"
    file.write_text(json.dumps(more.to_json()))
    script.write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), str(file), str(out), "0"]
    first, second = (subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2))
    deadline, holders = time.monotonic() + 300, set[int]()
    while (len(files_of(out)) < 5 or len(holders) < 2) and first.poll() is None and time.monotonic() < deadline:
        if (out / STUDY.header).exists():
            holders |= {who.process for who in status_of(out).running.values()}
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    before = files_of(out)
    _, said = second.communicate(timeout=300)
    assert second.returncode == 0, said
    assert {first.pid, second.pid} >= holders
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert status_of(out).done == status_of(out).runs == len(files_of(out))
    run_study(more, tmp_path / "alone")
    assert numbers(read_results(out)) == numbers(read_results(tmp_path / "alone"))
    assert not (out / LEASES).exists()


def test_what_another_driver_is_at_is_waited_for(study: Study, tmp_path: Path) -> None:
    """The other one holds a run, and fails it: that is its result, which is not tried again here."""
    import threading

    small = replace(study, tasks="5", methods=(Method(("sft",), ("full",)),))
    run_study(small, tmp_path)
    path = next(tmp_path.glob("point/*/sft-full/seed-0/task-5.json"))
    kept = read_result(path)
    path.unlink()
    held = tmp_path / LEASES / path.relative_to(tmp_path).with_suffix("")
    said: list[int] = []
    with lease(held) as mine:
        assert mine
        driver = threading.Thread(target=run_study, args=(small, tmp_path, 0, lambda *told: said.append(told[1])))
        driver.start()
        deadline = time.monotonic() + 60
        while not said and time.monotonic() < deadline:  # it has seen what there is
            time.sleep(0.05)
        assert driver.is_alive() and not path.exists()
        write_result(path, replace(kept, failed="out of luck"))
    driver.join(60)
    assert not driver.is_alive() and said[-1] == 3
    assert read_result(path).failed == "out of luck"
