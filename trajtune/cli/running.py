"""Run a command: what went wrong becomes one line and an exit code."""

import os
import sys
from collections.abc import Sequence

from trajtune.cli.output import Output
from trajtune.cli.parsing import Shown, parse
from trajtune.cli.process import SAID, STOPPED
from trajtune.errors import DivergedError, UserError

LONGEST = 400
"""Characters of an error's line."""


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    out = Output()
    try:
        command = parse(argv)
        if isinstance(command, Shown):
            print(command.text)
        else:
            out.as_json = command.json
            command.run(out)
        out.close()
        sys.stdout.flush()
        return 0
    except BrokenPipeError:  # whoever reads our output has left, as `head` does
        _give_up_output()
        return 1
    except KeyboardInterrupt:
        return _failed(out, STOPPED, SAID)
    except UserError as error:
        return _failed(out, 2, f"trajtune: {error}")
    except DivergedError as error:
        return _failed(out, 3, f"trajtune: {error}")
    except OSError as error:  # what no one nearer to it has put into better words
        _give_up_output()
        where = "" if error.filename is None else f"{error.filename}: "
        return _failed(out, 2, f"trajtune: {where}{error.strerror or error}")
    finally:
        out.close()


def _failed(out: Output, code: int, why: str) -> int:
    out.close()
    print(one_line(why), file=sys.stderr)
    return code


def one_line(text: str) -> str:
    """Put a message on one line that can be read at a glance: its beginning, and its end, where the remedy is."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 155]} ... {line[-150:]}"


def _give_up_output() -> None:
    """Send what is still buffered nowhere, or the interpreter would complain about it on its way out."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
