"""Arguments: help, and what is wrong on one line before anything is imported or read."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commands import ROOT, Capture, text
from tests.cli.conftest import Refuse
from trajtune import __version__
from trajtune.algorithms import ALGORITHMS
from trajtune.cli import COMMANDS
from trajtune.cli.fields import RecipeFields
from trajtune.cli.finetune import Finetune
from trajtune.cli.parsing import parse
from trajtune.cli.running import LONGEST, one_line
from trajtune.data.setting import Setting
from trajtune.training.config import Recipe
from trajtune.tunings import TUNINGS

FINETUNE = ["finetune", "--agent", "a", "--data", "d", "--task", "1", "--out", "o"]
HEAVY = ("torch", "mujoco", "gymnasium", "scipy", "peft", "transformers", "matplotlib", "rich")


@pytest.mark.parametrize("arguments", [[], ["help"], ["--help"], ["-h"]])
def test_help(arguments: list[str], capsys: Capture) -> None:
    shown = text(capsys, *arguments)
    assert shown.startswith("usage: trajtune")
    for name, (_, summary) in COMMANDS.items():
        assert name in shown and summary in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(command: str, capsys: Capture) -> None:
    shown = text(capsys, command, "--help")
    assert shown.startswith(f"usage: trajtune {command}")
    assert text(capsys, "help", command) == shown == text(capsys, command, "-h")


@pytest.mark.parametrize("option", ["--version", "-V", "version"])
def test_version(option: str, capsys: Capture) -> None:
    assert text(capsys, option) == f"trajtune {__version__}\n"


def test_help_of_finetune_lists_what_there_is(capsys: Capture) -> None:
    shown = text(capsys, "finetune", "--help")
    words = " ".join(shown.split())
    for name, entry in (*ALGORITHMS.items(), *TUNINGS.items()):
        assert re.search(rf"^  {name} ", shown, re.MULTILINE) and entry.summary in words


@pytest.mark.parametrize("arguments", [["--help"], ["finetune", "--help"], ["pretrain", "--help"], ["finetun"]])
def test_help_and_typos_load_nothing_heavy(arguments: list[str]) -> None:
    code = f"import sys; from trajtune.cli import main; main({arguments}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not set(HEAVY) & set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("arguments", "culprit"),
    [
        (["finetun"], "unknown command 'finetun': did you mean finetune? choose one of suites, collect"),
        (["help", "finetun"], "did you mean finetune?"),
        (["--nonsense"], "unknown option '--nonsense'"),
        (["--verson"], "did you mean --version?"),
        (["suites", "--nonsense"], "unknown option --nonsense (see trajtune suites --help)"),
        (["suites", "point"], "'point' is one argument too many"),
        (["suites", "--suite", "nonsense"], "unknown suite 'nonsense': choose one of cheetah-vel"),
        (["suites", "--suite", "cheetah-val"], "did you mean cheetah-vel?"),
        (["collect", "point"], "missing: --out"),
        (["collect", "point", "--out"], "--out"),
        (
            ["collect", "point", "--out", "x", "--trajectories", "many"],
            "--trajectories takes a whole number, got 'many'",
        ),
        (["collect", "point", "--out", "x", "--dtype", "int8"], "--dtype"),
        (["collect", "nonsense", "--out", "x"], "unknown suite 'nonsense': choose one of cheetah-vel"),
        (["pretrain"], "missing: --data, --out"),
        (["pretrain", "--data", "x", "--out", "y", "--steps", "1.5"], "--steps takes a whole number, got '1.5'"),
        (["pretrain", "--data", "x", "--out", "y", "--precision", "fp8"], "unknown value of --precision 'fp8'"),
        (["pretrain", "--data", "x", "--out", "y", "--agent", "prompt-td"], "did you mean prompt-dt?"),
        (["finetune"], "missing: --agent, --data, --task, --out"),
        (["finetune", "--agent", "x", "--data", "y", "--out", "z"], "missing: --task"),
        (["finetune", "--agent", "x", "--data", "y", "--out", "z", "--task", "one"], "--task"),
        (["finetune", "--agnet", "x"], "unknown option --agnet: did you mean --agent?"),
        (["finetune", "--nonsense"], "unknown option --nonsense (see trajtune finetune --help)"),
        (["finetune", "--nonsense=3"], "unknown option --nonsense"),
        ([*FINETUNE, "--learning_rate", "1e-3", "--stesp", "3"], "unknown option --stesp: did you mean --steps?"),
        ([*FINETUNE, "--stesp", "3"], "unknown option --stesp: did you mean --steps?"),
        ([*FINETUNE, "--learning-rate", "fast"], "--learning-rate takes a number, got 'fast'"),
        ([*FINETUNE, "--reward", "spares"], "unknown value of --reward 'spares': did you mean sparse?"),
        (["evaluate"], "missing: --agent"),
        (["evaluate", "--agent"], "--agent"),
        (["merge", "--agent", "x", "--delta", "y"], "missing: --out"),
        (["inspect"], "missing: FOLDER"),
        (["inspect", "x", "y"], "'y' is one argument too many"),
        (["demo", "--quality", "random"], "random"),
    ],
)
def test_wrong_arguments(refuse: Refuse, arguments: list[str], culprit: str) -> None:
    line = refuse(arguments, culprit)
    assert not any(mark in line for mark in ("───", "---", "│", "╭"))


def test_defaults_are_the_library_s() -> None:
    command = parse(FINETUNE)
    assert isinstance(command, Finetune)
    assert command.setting == Setting() and command.recipe == RecipeFields()
    assert RecipeFields().to_json() == Recipe().to_json()


def test_options_that_are_repeated_add_up() -> None:
    command = parse([*FINETUNE, "--set", "alpha=0.5", "--set", "gamma=0.9", "--set-tuning", "method=IA3"])
    assert command.set == ["alpha=0.5", "gamma=0.9"] and command.set_tuning == ["method=IA3"]


def test_an_error_is_short_and_keeps_its_end() -> None:
    line = one_line("trajtune: " + "x" * 1000 + "\nchoose another folder")
    assert len(line) <= LONGEST and line.startswith("trajtune: xxx") and line.endswith("choose another folder")


@pytest.mark.parametrize("command", [*COMMANDS, "--help"])
def test_all_of_it_can_be_said_in_ascii(command: str, capsys: Capture) -> None:
    """Not with other characters in their place: in the help there are none."""
    shown = text(capsys, command, "--help")
    assert shown.isascii(), set(shown) - set(map(chr, range(128)))


def test_names_of_the_package() -> None:
    import trajtune

    assert set(trajtune.__all__) == set(trajtune._HOMES) <= set(dir(trajtune))
    for name in trajtune.__all__:
        assert getattr(trajtune, name).__name__ == name
    with pytest.raises(AttributeError, match="nonsense"):
        trajtune.nonsense  # noqa: B018
    homes = {name: getattr(trajtune, name).__module__ for name in trajtune.__all__}
    assert homes == {name: f"trajtune.{home}" for name, home in trajtune._HOMES.items()}


def test_every_module_of_the_commands_is_a_command() -> None:
    shared = {"__init__", "complaints", "fields", "output", "parsing", "process", "running", "together"}
    found = {path.stem for path in (Path(ROOT) / "trajtune" / "cli").glob("*.py")}
    assert found == shared | set(COMMANDS)
