"""From arguments to a command. Help is text to be shown, and wrong arguments are a ``UserError`` of one line."""

import contextlib
import difflib
import io
import re
import textwrap
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

from trajtune import __doc__ as about
from trajtune import __version__
from trajtune.cli import COMMANDS
from trajtune.cli.complaints import complaint
from trajtune.errors import UserError, unknown

HELP = ("-h", "--help", "help")
VERSION = ("-V", "--version", "version")


class Shown(NamedTuple):
    """What was asked for is a text."""

    text: str


def parse(argv: Sequence[str]) -> Any:
    """Return the command that the arguments make, or the text that they ask for."""
    first, *rest = argv or ["--help"]
    if first == "help" and rest:
        first, rest = rest[0], ["--help"]
    if first in HELP:
        return Shown(_overview())
    if first in VERSION:
        return Shown(f"trajtune {__version__}")
    if first not in COMMANDS:
        raise unknown("option" if first.startswith("-") else "command", first, [*COMMANDS, "--help", "--version"])
    return _command(first, rest)


def _overview() -> str:
    """The commands and how to go on."""
    rows = [f"  {name:<9} {summary}" for name, (_, summary) in COMMANDS.items()]
    head = (about or "").splitlines()[0]
    usage = "usage: trajtune COMMAND [OPTIONS]"
    more = ["trajtune COMMAND --help says what a command takes; trajtune --version which version this is.", DOCUMENTED]
    return "\n".join([usage, "", head, "", "commands:", *rows, "", *more])


DOCUMENTED = "A first look: trajtune demo"


def _command(name: str, argv: Sequence[str]) -> Any:
    """Let tyro parse a command's arguments; what it has to say about wrong ones becomes one line."""
    kind = getattr(import_module(f"trajtune.cli.{name}"), COMMANDS[name][0])
    code, said, found = _ask(kind, name, argv)
    if found is not None:
        return found
    if code == 0:
        return Shown("\n".join(line.rstrip() for line in said.strip().splitlines()))
    known = re.findall(r"^\s*(?:-h, )?(--[\w-]+)", _ask(kind, name, ["--help"])[1], re.MULTILINE)
    given = [word.partition("=")[0] for word in argv if re.match(r"--\w", word)]
    odd = [option for option in given if option.replace("_", "-") not in known]
    if odd:  # first of all: what is missing was perhaps given under a wrong name
        near = difflib.get_close_matches(odd[0].lstrip("-"), [option.lstrip("-") for option in known], 1)
        said = f"unknown option {odd[0]}" + (f": did you mean --{near[0]}?" if near else "")
    else:
        said = complaint(said)
    raise UserError(f"{said} (see trajtune {name} --help)")


def _ask(kind: Any, name: str, argv: Sequence[str]) -> tuple[int, str, Any]:
    """Return tyro's exit code, what it printed, and the command that it made."""
    import tyro

    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            found = tyro.cli(
                kind,
                args=argv,
                prog=f"trajtune {name}",
                description=_description(kind) if {"-h", "--help"} & set(argv) else "",
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
            )
            return 0, "", found
    except SystemExit as stop:
        return int(stop.code or 0), said.getvalue(), None


def _description(kind: Any) -> str:
    """What a command does, and the names that its options take: ``choices()`` gives {heading: {name: summary}}."""
    parts = [textwrap.dedent(kind.__doc__ or "").strip()]
    for heading, choices in getattr(kind, "choices", dict)().items():
        wide = max(map(len, choices))
        rows = [
            textwrap.fill(summary, 78, initial_indent=f"  {name:<{wide}}  ", subsequent_indent=" " * (wide + 4))
            for name, summary in choices.items()
        ]
        parts.append("\n".join([f"{heading}:", *rows]))
    return "\n\n".join(parts)
