"""From arguments to a command. Help is text to be shown, and wrong arguments are a ``UserError`` of one line."""

import contextlib
import io
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
    import tyro

    kind = getattr(import_module(f"trajtune.cli.{name}"), COMMANDS[name][0])
    said, wrong = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(wrong):
            return tyro.cli(
                kind,
                args=argv,
                prog=f"trajtune {name}",
                description=_description(kind) if {"-h", "--help"} & set(argv) else "",
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as stop:
        if not stop.code:
            return Shown("\n".join(line.rstrip() for line in said.getvalue().strip().splitlines()))
        raise UserError(f"{complaint(wrong.getvalue())} (see trajtune {name} --help)") from None


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
