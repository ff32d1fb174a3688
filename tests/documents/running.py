"""Running a story's blocks in this process: shell lines through the command line, Python by ``exec``."""

import contextlib
import io
import os
import re
import shlex
import shutil
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.documents.blocks import Block, Story
from tests.documents.replacements import BUDGETS, FILES, NEVER, OUTSIDE, PYTHON, SETUPS

ROOT = Path(__file__).resolve().parents[2]


class DocumentError(AssertionError):
    """A block does not do what its document says."""


def run_story(story: Story, folder: Path, made: dict[str, Path]) -> None:
    """Prepare ``folder`` and run the blocks there. ``made`` remembers prepared folders by the name of their setup."""
    if story.setup not in SETUPS:
        raise DocumentError(f"{story.name}: no setup {story.setup}; there are {', '.join(SETUPS)}")
    if story.setup not in made:
        begin = folder.parent / f"setup-{story.setup}"
        begin.mkdir()
        prepare(story.setup, begin)
        made[story.setup] = begin
    shutil.copytree(made[story.setup], folder, dirs_exist_ok=True)
    names: dict[str, Any] = {"__name__": "__main__"}
    with inside(folder):
        for block in story.blocks:
            if block.skip is None:
                run_block(block, SETUPS[story.setup].words, names)


def prepare(setup: str, folder: Path) -> None:
    """Make what a story begins with."""
    for source, target in SETUPS[setup].copies:
        shutil.copytree(ROOT / "trajtune" / "assets" / source, folder / target)
    for name in SETUPS[setup].files:
        _write(folder / name, (ROOT / name).read_text(encoding="utf-8"))
    with inside(folder):
        for command in SETUPS[setup].commands:
            run_shell(command, f"setup {setup}")


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in ``folder``."""
    with contextlib.chdir(folder):
        yield


def run_block(block: Block, words: Iterable[tuple[str, str]], names: dict[str, Any]) -> None:
    """Run one block in the current folder; what fails is a ``DocumentError`` that names its place."""
    text = block.text
    for old, new in words:
        text = text.replace(old, new)
    if block.path is not None:
        _write(Path(block.path), text)
    elif block.language == "shell":
        run_shell(text, block.place)
    elif block.language == "python":
        _run_python(replaced(text, PYTHON), block, names)
    elif block.language == "yaml":
        yaml.safe_load(text)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(replaced(text, FILES), encoding="utf-8")


def replaced(text: str, table: Iterable[tuple[str, str]]) -> str:
    """Apply regular expressions one after the other."""
    for pattern, new in table:
        text = re.sub(pattern, new, text)
    return text


def _run_python(text: str, block: Block, names: dict[str, Any]) -> None:
    said = io.StringIO()
    try:
        # Lines are counted as in the document, so that a traceback says where.
        code = compile("\n" * (block.line - 1) + text, str(ROOT / block.file), "exec")
        with contextlib.redirect_stdout(said):
            exec(code, names)
    except Exception as error:
        last = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(block.file)]
        where = f"{block.file}:{last[-1].lineno}" if last else block.place
        raise DocumentError(f"{where}: {type(error).__name__}: {error}") from error


def run_shell(text: str, place: str) -> None:
    """Run shell lines: ``trajtune`` in this process, other programs as the table of what is outside says."""
    for command in commands(text, place):
        run_command(command, place)


def commands(text: str, place: str = "text") -> list[list[str]]:
    """Split shell lines into commands. Pipes and redirections are not understood, and said so."""
    found: list[list[str]] = []
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for token in [*lexer, "&&"]:
            if token in ("&&", ";"):
                while words and re.match(r"^[A-Z_]+=", words[0]):
                    words.pop(0)  # the environment of a command
                found += [words] if words else []
                words = []
            elif token and set(token) <= set("|<>&()"):
                raise DocumentError(f"{place}: {token} in {line.strip()!r} is not understood; mark the block")
            else:
                words.append(token)
    return found


def run_command(words: list[str], place: str) -> None:
    """Run one command, or check what can be checked of one that is not run."""
    program, rest = words[0], words[1:]
    if program == "trajtune":
        if rest and rest[0] in NEVER:
            help_of(rest[0])
        else:
            _run_trajtune(budgeted(rest), place)
    elif program not in OUTSIDE:
        raise DocumentError(f"{place}: say in replacements.py what to do with {program}")
    elif program == "make":
        targets = [word for word in rest if "=" not in word]
        known = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        if odd := [target for target in targets if target not in known]:
            raise DocumentError(f"{place}: make {odd[0]} is no target of the Makefile")
    elif program == "python" and rest and not rest[0].startswith("-") and not (ROOT / rest[0]).is_file():
        raise DocumentError(f"{place}: {rest[0]} does not exist")


def budgeted(words: list[str]) -> list[str]:
    """Put the table's options in place of the command's own, or add them."""
    wanted = dict(BUDGETS.get(words[0], {})) if words and "--help" not in words else {}
    result, i = [], 0
    while i < len(words):
        name = words[i].split("=")[0]
        if name in wanted:
            result += [name, wanted.pop(name)]
            i += 1 if "=" in words[i] else 2
        else:
            result.append(words[i])
            i += 1
    return result + [word for option in wanted.items() for word in option]


def _run_trajtune(words: list[str], place: str) -> None:
    code, out, err = call(words)
    if code != 0:
        raise DocumentError(f"{place}: trajtune {shlex.join(words)} ended with {code}: {(err or out).strip()[-2000:]}")


def call(words: list[str]) -> tuple[int, str, str]:
    """Run the command line in this process; return its exit code and what it printed."""
    from trajtune.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "COLUMNS", "200")
        try:
            code = main(words)
        except SystemExit as stop:  # --help and --version
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return code, out.getvalue(), err.getvalue()


def help_of(command: str) -> str:
    """Return the help of a subcommand, empty if there is none of that name."""
    code, out, _ = call([command, "--help"])
    return re.sub(r"\x1b\[[0-9;]*m", "", out) if code == 0 else ""
