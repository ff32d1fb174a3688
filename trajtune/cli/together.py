"""Run this process's own command in several processes that train together (``torch.distributed``'s variables)."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from typing import IO

from trajtune.errors import UserError


def run_together(processes: int) -> None:
    """Run the command once a process; the first one writes and prints. If one ends early, so do the others.

    Not by ``torchrun``, which answers Ctrl-C with a traceback a process. They do not hear it: we end them.
    """
    command = [sys.executable, "-m", "trajtune", *sys.argv[1:], "--processes", str(processes)]
    variables = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    variables["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")
    with ExitStack() as stack:
        children: list[subprocess.Popen[bytes]] = []
        said: list[IO[str]] = []
        stack.callback(_end, children)
        for rank in range(processes):
            own = {**os.environ, **variables, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            said.append(stack.enter_context(tempfile.TemporaryFile("w+")))
            errors = None if rank == 0 else said[rank]
            output = None if rank == 0 else subprocess.DEVNULL
            children.append(subprocess.Popen(command, env=own, stdout=output, stderr=errors, start_new_session=True))
        while any(child.poll() is None for child in children) and not any(child.returncode for child in children):
            time.sleep(0.05)
        for rank, child in enumerate(children):
            if child.returncode:
                said[rank].seek(0)
                why = (said[rank].read().strip().splitlines() or [f"exit code {child.returncode}"])[-1]
                raise UserError(f"process {rank} of {processes} stopped: {why.removeprefix('trajtune: ')}")


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    for child in children:
        child.kill()
        child.wait()


def _free_port() -> int:
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        return int(each.getsockname()[1])
