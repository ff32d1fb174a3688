"""The command line: one thin module a command, and the table of them. Nothing is imported before it is asked for."""

import os

TYPE_CHECKING = False  # importing typing takes longer than all else here, and Ctrl-C may come at once
if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "suites": ("Suites", "list suites, tasks, splits and reference returns"),
    "collect": ("Collect", "train experts and record trajectories"),
    "pretrain": ("Pretrain", "pretrain an agent on the training tasks of a dataset"),
    "finetune": ("Finetune", "finetune an agent on a few trajectories of one task"),
    "evaluate": ("Evaluate", "run an agent, or an agent with a delta, in the environment"),
    "study": ("Study", "run a matrix of algorithms, tunings, tasks and seeds"),
    "studies": ("Studies", "list the studies that come with trajtune, or copy one to change it"),
    "status": ("Status", "say how far a study is"),
    "report": ("Report", "compare what a study has found"),
    "pack": ("Pack", "put a study's results into one small file"),
    "unpack": ("Unpack", "make a pack a study's folder again"),
    "merge": ("Merge", "turn an agent and a delta into one plain agent"),
    "inspect": ("Inspect", "say what a folder holds"),
    "demo": ("Demo", "finetune a shipped agent on held-out tasks, and show what came of it"),
}
"""Of each command: its class in the module of its name, and what it does in a word."""


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run one command and return its exit code: 0 done, 2 the user can put it right, 3 diverged, 130 stopped.

    Without ``argv`` this is a process of its own: it takes the arguments, signals and streams of the process.
    """
    if argv is not None:
        from trajtune.cli.running import run

        return run(list(argv))
    try:
        from trajtune.cli.process import own_process
    except KeyboardInterrupt:
        os.write(2, b"trajtune: stopped\n")
        return 130
    return own_process()
