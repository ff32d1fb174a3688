"""Studies on Ray and through submitit, with real processes: the numbers of this machine, whatever is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.study.test_local import ROOT, files_of, numbers
from trajtune.errors import UserError
from trajtune.leases import holder
from trajtune.study.declaration import Method, Study
from trajtune.study.jobs import LEASES
from trajtune.study.results import Result
from trajtune.study.runners import RUNNERS, run_study
from trajtune.study.runners.slurm import LOGS, Shard, _why
from trajtune.study.stored import read_results

pytestmark = pytest.mark.slow
HERE: dict[str, Any] = {"cluster": "local", "minutes": 10, "memory_gb": 1}
SCRIPT = """
import json, sys
from trajtune.study.reading import load_study
from trajtune.study.runners import run_study

run_study(load_study(sys.argv[1]), sys.argv[2], int(sys.argv[3]), on=sys.argv[4], options=json.loads(sys.argv[5]))
"""


@pytest.fixture(scope="module")
def larger(study: Study) -> Study:
    return replace(study, methods=(Method(("sft", "dpo"), ("full", "prompt", "decorator")),))


@pytest.fixture(scope="module")
def alone(larger: Study, tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    out = tmp_path_factory.mktemp("alone") / "out"
    run_study(larger, out)
    return numbers(read_results(out))


@pytest.fixture(autouse=True)
def found_by_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def until(done: Any, seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.05)


def killed_driver(study: Study, folder: Path, on: str, options: dict[str, Any]) -> None:
    """A driver of its own, killed by SIGKILL when the first results are there."""
    file = folder / "study.yaml"
    file.write_text(json.dumps(study.to_json()))
    command = [sys.executable, "-c", SCRIPT, file, folder / "out", "2", on, json.dumps(options)]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL, start_new_session=True)
    until(lambda: len(files_of(folder / "out")) >= 2 or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(files_of(folder / "out")) >= 2


def test_ray_gives_the_same_numbers(larger: Study, alone: list[Result], tmp_path: Path) -> None:
    pytest.importorskip("ray")
    run_study(larger, tmp_path / "out", 2, on="ray")
    assert numbers(read_results(tmp_path / "out")) == alone
    before = files_of(tmp_path / "out")
    run_study(larger, tmp_path / "out", 2, on="ray")
    assert files_of(tmp_path / "out") == before


def test_a_ray_node_that_dies_takes_nothing_with_it(larger: Study, alone: list[Result], tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        doomed = cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        driver = threading.Thread(target=run_study, args=(larger, tmp_path / "out", 2), kwargs={"on": "ray"})
        driver.start()
        until(lambda: len(files_of(tmp_path / "out")) >= 4)
        cluster.remove_node(doomed, allow_graceful=False)
        driver.join(300)
        assert not driver.is_alive()
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert numbers(read_results(tmp_path / "out")) == alone


def test_a_ray_driver_that_is_killed_goes_on(larger: Study, alone: list[Result], tmp_path: Path) -> None:
    pytest.importorskip("ray")
    killed_driver(larger, tmp_path, "ray", {})
    run_study(larger, tmp_path / "out")  # anywhere
    assert numbers(read_results(tmp_path / "out")) == alone


def test_a_run_that_fails_on_ray_is_recorded(study: Study, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    wrong = Method(("sft",), ("adapter",), tuning_options={"method": "NOPE"})
    run_study(replace(study, tasks="5", methods=(wrong,)), tmp_path, 1, on="ray")
    assert str(read_results(tmp_path)[-1].failed).startswith("unknown PEFT method 'NOPE'")


def test_no_ray_cluster_is_one_line(study: Study, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UserError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        run_study(study, tmp_path, on="ray", options={"address": "127.0.0.1:1"})


def test_long_jobs_give_the_same_numbers(larger: Study, alone: list[Result], tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    run_study(larger, tmp_path / "out", 2, on="slurm", options=HERE)
    assert numbers(read_results(tmp_path / "out")) == alone
    assert not (tmp_path / "out" / LEASES).exists()


def test_long_jobs_that_are_killed_say_so_and_the_same_call_goes_on(
    larger: Study, alone: list[Result], tmp_path: Path
) -> None:
    pytest.importorskip("submitit")
    out, said = tmp_path / "out", list[str]()

    def wait() -> None:
        try:
            run_study(larger, out, 1, on="slurm", options=HERE)
        except UserError as error:
            said.append(str(error))

    driver = threading.Thread(target=wait)
    driver.start()
    until(lambda: len(files_of(out)) >= 2)
    at_work = [holder(lease) for lease in (out / LEASES).rglob("task-*")]
    for pid in [who.process for who in at_work if who is not None and who.process] + shards(out):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    driver.join(300)
    assert not driver.is_alive()
    assert len(said) == 1 and "runs are left and no job is at work" in said[0] and LOGS in said[0]
    before = files_of(out)
    run_study(larger, out, 2, on="slurm", options=HERE)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert numbers(read_results(out)) == alone


def shards(folder: Path) -> list[int]:
    """The processes whose command line names the logs of a study's jobs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder / LOGS) in words and "submitit" in words:
            found.append(int(path.parent.name))
    return found


def test_a_preempted_job_is_queued_again_as_it_was() -> None:
    pytest.importorskip("submitit")
    again = Shard().checkpoint(1, "folder", 10, 4, "cpu", 0.0)
    assert isinstance(again.function, Shard) and again.args == (1, "folder", 10, 4, "cpu", 0.0)


@pytest.mark.parametrize(
    ("on", "options", "message"),
    [
        ("sluram", {}, "unknown runner 'sluram': did you mean slurm"),
        ("slurm", {"minutes": 0}, "minutes must be positive"),
        ("slurm", {"hours": 1}, "unknown option of runner slurm 'hours'"),
        ("ray", {"cpus": "two"}, "runner ray: cpus must be of type float"),
        ("local", {"partition": "x"}, "unknown option of runner local 'partition'"),
        ("ray", {"gpus": -1.0}, "gpus must not be negative"),
        ("slurm", {"gpus": -1}, "gpus must not be negative"),
    ],
)
def test_what_no_runner_takes_is_one_line(
    study: Study, tmp_path: Path, on: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run_study(study, tmp_path / "out", on=on, options=options)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_no_cuda_device_is_one_line(study: Study, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no CUDA device is available"):
        run_study(study, tmp_path / "out", options={"device": "cuda"})
    assert not (tmp_path / "out").exists()


def test_what_submitit_quotes() -> None:
    trace = "trace:\n-------\nTraceback\n  File x\nUserError: why\n-------\nYou can check\n  - /a/log"
    assert _why(trace) == "UserError: why"
    assert _why("Job 3 has not produced any output") == "Job 3 has not produced any output"
    assert _why("") == "they ended early"


def test_a_run_that_no_machine_has_room_for_is_one_line(study: Study, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UserError, match="a run asks for 1 of GPU, this machine has 0"):
        run_study(study, tmp_path / "out", 1, on="ray", options={"gpus": 1, "cpus": 2})


def test_runners_are_a_table() -> None:
    assert list(RUNNERS)[:3] == ["local", "ray", "slurm"]
