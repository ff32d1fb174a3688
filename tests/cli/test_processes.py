"""Real processes: signals, pipes, full devices, and terminals that know ASCII alone. No test here looks at a clock."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import AGENT, DELTA, ROOT, Capture, contents, finetune, one_line, pretrain, result, shell
from trajtune.cli.process import SAID, STOPPED
from trajtune.data.store import Dataset

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and pipes")
ASCII = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}

INTERRUPTED = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
sys.argv = ["trajtune", *{words}]
from trajtune.cli import main
sys.exit(main())
"""
"""A process that is interrupted at the moment at which it begins to import a module."""


@posix
@pytest.mark.parametrize(
    "module",
    ["trajtune.cli.running", "trajtune.errors", "tyro", "trajtune.cli.finetune", "numpy", "torch", "torch.nn"],
)
def test_interrupted_while_something_is_imported(
    point_agent_folder: Path, point_data: Dataset, tmp_path: Path, module: str
) -> None:
    words = [str(word) for word in finetune(point_agent_folder, point_data.path, tmp_path / "out")]
    code = INTERRUPTED.format(module=module, words=words)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (STOPPED, "", SAID + "\n")


STOPPED_AT = """
import os, signal, sys
from trajtune.cli import main
from trajtune.cli.output import Output

genuine = Output.progress

def progress(self, stage, done, *more):
    genuine(self, stage, done, *more)
    if done == {done}:
        os.killpg(0, signal.{signal})

if __name__ == "__main__":
    Output.progress = progress
    sys.argv = ["trajtune", *{words}]
    sys.exit(main())
"""
"""A process whose group gets a signal when its work has come that far."""


def stop_at(done: int, name: str, command: list[Any], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script.py"  # not -c: workers import their parent's main module
    script.write_text(STOPPED_AT.format(done=done, signal=name, words=[str(word) for word in command]))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    options: dict[str, Any] = {"capture_output": True, "text": True, "start_new_session": True}
    return subprocess.run([sys.executable, script], cwd=ROOT, env=environment, check=False, **options)


@posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_stopped_and_started_again_equals_uninterrupted(
    point_agent_folder: Path, point_data: Dataset, tmp_path: Path, name: str, capsys: Capture
) -> None:
    many = ["--steps", 150, "--batch", 2, "--tuning", "full"]
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    command = finetune(point_agent_folder, point_data.path, stopped, *many)
    done = stop_at(120, name, command, tmp_path)
    if name == "SIGINT":
        assert done.returncode == STOPPED and "Traceback" not in done.stderr, done.stderr
        assert done.stdout == "" and done.stderr.splitlines()[-1] == SAID
    else:
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert (stopped / "checkpoint.safetensors").exists() and not (stopped / "delta.json").exists()
    again = shell(*command, capture_output=True)
    assert again.returncode == 0, again.stderr
    result(capsys, *finetune(point_agent_folder, point_data.path, whole, *many))
    assert sorted(contents(stopped)) == DELTA and contents(stopped) == contents(whole)


@posix
def test_workers_that_are_interrupted_say_nothing(tmp_path: Path) -> None:
    """Ctrl-C reaches the whole group."""
    command = ["collect", "point", "--out", tmp_path / "out", "--trajectories", 20, "--workers", 2]
    done = stop_at(2, "SIGINT", command, tmp_path)
    assert done.returncode == STOPPED and "Traceback" not in done.stderr, done.stderr
    assert done.stdout == "" and done.stderr.splitlines()[-1] == SAID


@posix
def test_processes_that_train_together(point_data: Dataset, tmp_path: Path) -> None:
    """One prints; an error of all is one of the first, and ends in one line; Ctrl-C as well."""
    out = tmp_path / "out"
    two = ["--processes", 2, "--device", "cpu"]
    done = shell(*pretrain(point_data.path, out, *two), "--json", capture_output=True)
    assert done.returncode == 0 and json.loads(done.stdout)["out"] == str(out), done.stderr
    assert sorted(contents(out)) == AGENT
    wrong = shell(*pretrain(point_data.path, out, *two, "--learning-rate", 0.1), capture_output=True)
    one_line(wrong.returncode, wrong.stdout, wrong.stderr, "stopped")
    assert "already holds" in wrong.stderr

    many = pretrain(point_data.path, tmp_path / "many", *two, "--steps", 1_000_000, "--checkpoint-every", 5)
    words = [sys.executable, "-m", "trajtune", *map(str, many)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    child = subprocess.Popen(words, cwd=ROOT, env=environment, start_new_session=True, **pipes)
    while not (tmp_path / "many" / "checkpoint.safetensors").exists() and child.poll() is None:
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGINT)
    printed, err = child.communicate()
    assert child.returncode == STOPPED and printed == "" and "Traceback" not in err, err
    assert err.splitlines()[-1] == SAID


@posix
@pytest.mark.parametrize("arguments", [["suites", "--suite", "point"], ["demo", "--help"], ["--help"], ["--version"]])
def test_a_reader_that_has_left(arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = shell(*arguments, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert done.returncode == 1 and done.stderr == ""


@posix
def test_a_reader_that_leaves() -> None:
    done = subprocess.run(
        f"{sys.executable} -m trajtune demo --help | head -n 5", shell=True, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stderr == "" and done.stdout.startswith("usage: trajtune demo")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", [["suites", "--json"], ["--help"]])
def test_output_that_cannot_be_written(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = shell(*arguments, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2 and done.stderr == "trajtune: No space left on device\n"


@pytest.mark.parametrize("arguments", [["suites"], ["demo", "--help"], ["finetune", "--help"], ["study", "--help"]])
def test_a_terminal_that_knows_ascii_alone(arguments: list[str]) -> None:
    done = shell(*arguments, env=ASCII, capture_output=True)
    assert done.returncode == 0 and done.stderr == "" and done.stdout.isascii()


def test_tables_where_ascii_is_all_there_is(point_agent_folder: Path) -> None:
    done = shell("inspect", point_agent_folder, env=ASCII, capture_output=True)
    assert done.returncode == 0 and "?" not in done.stdout and done.stdout.isascii(), done.stderr


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["finetune", "--nonsense"], "--nonsense"),
        (["evaluate", "--agent", "/nowhere"], "/nowhere is not an agent"),
        (["evaluate", "--agent", "/nöwhere→"], "has no agent.json"),
        (["collect", "point", "--out", "/dev/null/x", "--tasks", "0"], "/dev/null/x"),
    ],
)
def test_errors_where_ascii_is_all_there_is(arguments: list[str], culprit: str) -> None:
    done = shell(*arguments, env=ASCII, capture_output=True)
    one_line(done.returncode, done.stdout, done.stderr, culprit)
