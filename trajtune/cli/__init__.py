"""The command line: one thin module a command. Exit codes: 0 done, 2 the user can put it right, 3 diverged."""

import contextlib
import functools
import io
import operator
import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any

from trajtune.errors import DivergedError, UserError

DESCRIPTION = "Reinforcement finetuning for trajectory transformers."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    from trajtune.cli.output import Output

    try:
        command = _parse(sys.argv[1:] if argv is None else list(argv))
    except _UsageError as error:
        print(f"trajtune: {error}", file=sys.stderr)
        return 2
    out = Output(command.json)
    try:
        command.run(out)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads our output has left, as `head` does
        _give_up_output()
        return 1
    except UserError as error:
        out.close()
        print(f"trajtune: {error}", file=sys.stderr)
        return 2
    except DivergedError as error:
        out.close()
        print(f"trajtune: {error}", file=sys.stderr)
        return 3
    except OSError as error:  # what no one nearer to it has put into better words
        out.close()
        _give_up_output()
        where = "" if error.filename is None else f"{error.filename}: "
        print(f"trajtune: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        out.close()
        print("trajtune: stopped; the same command goes on from what was saved", file=sys.stderr)
        return 130
    finally:
        out.close()
    return 0


def _give_up_output() -> None:
    """Send what is still buffered nowhere, or the interpreter would complain about it on its way out."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _UsageError(Exception):
    """The arguments do not make a command."""


def _parse(argv: list[str]) -> Any:
    """Parse the arguments; what tyro has to say about wrong ones becomes one line."""
    import tyro

    from trajtune.cli.collect import Collect
    from trajtune.cli.demo import Demo
    from trajtune.cli.evaluate import Evaluate
    from trajtune.cli.finetune import Finetune
    from trajtune.cli.inspect import Inspect
    from trajtune.cli.merge import Merge
    from trajtune.cli.pretrain import Pretrain
    from trajtune.cli.report import Report
    from trajtune.cli.study import Study
    from trajtune.cli.suites import Suites

    commands = {
        "suites": Suites,
        "collect": Collect,
        "pretrain": Pretrain,
        "finetune": Finetune,
        "evaluate": Evaluate,
        "study": Study,
        "report": Report,
        "merge": Merge,
        "inspect": Inspect,
        "demo": Demo,
    }
    members: list[Any] = [Annotated[c, tyro.conf.subcommand(n)] for n, c in commands.items()]
    union: Any = functools.reduce(operator.or_, members)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                union,
                args=argv,
                prog="trajtune",
                description=DESCRIPTION,
                config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise _UsageError(_one_line(complaint.getvalue())) from None


def _one_line(text: str) -> str:
    """Put one of tyro's boxes on a line: a title, what is wrong, perhaps more of it, and where the help is."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    sections = [re.sub(r"[\u2500-\u257f]", " ", part).split() for part in re.split(r"[\u2500-]{9,}", plain)]
    lines = [" ".join(words) for words in sections if words]
    said = [line for line in lines[1:] if not line.startswith("For full helptext")]
    helped = [re.sub(r"For full helptext, (run:?|see) ", "see ", line) for line in lines[1:] if line not in said]
    return "; ".join(said or lines) + (f" ({helped[0]})" if helped else "")
