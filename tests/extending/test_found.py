"""What other packages add is found; what is wrong with one of them is a line, and the others work."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]
TABLES = {
    "agents": ("trajtune.agents:AGENTS", "window-mlp"),
    "algorithms": ("trajtune.algorithms:ALGORITHMS", "awr-example"),
    "formats": ("trajtune.data.formats:FORMATS", "csv"),
    "suites": ("trajtune.suites:SUITES", "cart"),
    "tunings": ("trajtune.tunings:TUNINGS", "bias"),
}
LIST = """
import sys
from trajtune.registry import resolve
for table in sys.argv[1:]:
    print(" ".join(resolve(table)))
print("torch" in sys.modules)
"""


def plugin(folder: Path, name: str, group: str, target: str, code: str) -> None:
    """Write what an installed package comes to: a module and its entry point."""
    (folder / f"{name}.py").write_text(code)
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{group}]\n{target}\n")


def test_every_table_lists_them_without_torch(python: Run) -> None:
    done = python("-c", LIST, *(table for table, _ in TABLES.values()))
    assert (done.returncode, done.stderr) == (0, "")
    *listed, torch = done.stdout.splitlines()
    for names, (_, ours) in zip(listed, TABLES.values(), strict=True):
        assert ours in names.split()
    assert torch == "False"


BROKEN = {
    "import": ("raise ImportError('no module named elsewhere')", "broken:X", "ImportError: no module named elsewhere"),
    "missing": ("", "broken:X", "AttributeError: module 'broken' has no attribute 'X'"),
    "another kind": ("X = 3", "broken:X", "broken:X is not of type AlgorithmEntry"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_one_that_does_not_load_is_a_line_and_the_rest_works(python: Run, tmp_path: Path, case: str) -> None:
    code, target, why = BROKEN[case]
    plugin(tmp_path, "broken", "trajtune.algorithms", f"better-ppo = {target}", code)
    done = python("-c", LIST, *(table for table, _ in TABLES.values()), more=tmp_path)
    assert done.stderr == f"trajtune: algorithm better-ppo is left out: {why}\n"
    listed = done.stdout.splitlines()[1].split()
    assert {"sft", "awr-example"} <= set(listed) and "better-ppo" not in listed
    asked = python("-c", "from trajtune.algorithms import ALGORITHMS; ALGORITHMS['better-ppo']", more=tmp_path)
    assert f"algorithm better-ppo of another package does not load: {why}" in asked.stderr.splitlines()[-1]


def test_one_that_takes_our_name_is_left_out(python: Run, tmp_path: Path) -> None:
    plugin(tmp_path, "taker", "trajtune.algorithms", "sft = taker:X", "X = 3")
    code = "from trajtune.algorithms import ALGORITHMS; list(ALGORITHMS); print(ALGORITHMS['sft'].build)"
    done = python("-c", code, more=tmp_path)
    assert done.stderr == "trajtune: algorithm sft is left out: the name is taken\n"
    assert done.stdout == "trajtune.algorithms.sft:SFT\n"


def test_the_command_line_lists_them(python: Run, tmp_path: Path) -> None:
    plugin(tmp_path, "broken", "trajtune.suites", "moon = broken:X", "raise ImportError('no moon')")
    suites = python("-m", "trajtune", "suites", more=tmp_path)
    assert suites.returncode == 0
    assert suites.stderr == "trajtune: suite moon is left out: ImportError: no moon\n"
    assert "cart" in suites.stdout and "cheetah-vel" in suites.stdout
    helped = python("-m", "trajtune", "finetune", "--help")
    assert helped.returncode == 0
    for name in ("awr-example", "bias"):
        assert name in helped.stdout, name


@pytest.mark.parametrize(
    ("option", "typo", "name"), [("--algorithm", "awr-exampel", "awr-example"), ("--tuning", "bais", "bias")]
)
def test_a_typo_is_answered_with_their_name(python: Run, tmp_path: Path, option: str, typo: str, name: str) -> None:
    words = ["--agent", str(tmp_path), "--data", str(tmp_path), "--task", "0", "--out", str(tmp_path / "out")]
    done = python("-m", "trajtune", "finetune", *words, option, typo)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"did you mean {name}?" in done.stderr
