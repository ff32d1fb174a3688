"""Where a run is done: what stands beside its numbers."""

import platform
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from trajtune import __version__
from trajtune.study.results import Machine

LIBRARIES = ("torch", "numpy", "mujoco", "gymnasium", "peft")


def this_machine() -> Machine:
    """Return the processor, how many threads PyTorch uses, and the versions of what decides numbers."""
    import torch

    return Machine(_processor(), torch.get_num_threads(), _versions())


@lru_cache(maxsize=1)
def _processor() -> str:
    """The processor's name: from /proc where there is one, else what the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "trajtune": __version__}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
