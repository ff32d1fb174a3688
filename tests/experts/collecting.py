"""What the tests of collecting share: small collections, the bytes of a folder, and death at a chosen moment."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trajtune.experts.config import CollectConfig

CONFIG = CollectConfig("point", (4, 9), trajectories=3, experts="scripted", seed=5)
ONE = replace(CONFIG, tasks=(9,), trajectories=2)
DATA = ["achieved.npy", "actions.npy", "dataset.json", "index.safetensors", "observations.npy"]
DATA += ["returns_to_go.npy", "rewards.npy"]
HEADER, MARK = "dataset.json", "unfinished.json"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


class Killed(BaseException):
    """Stands for SIGKILL where the test must go on."""


class Mortal:
    """Dies before the ``deadly``-th change of the disk; from then on nothing is changed, not even by a ``finally``."""

    def __init__(self, patch: pytest.MonkeyPatch, deadly: int) -> None:
        self.changes, self.deadly = 0, deadly
        for name in ("replace", "unlink", "rmdir"):  # also what pathlib and shutil call
            patch.setattr(os, name, self._guarded(getattr(os, name)))

    def _guarded(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **options: Any) -> Any:
            self.changes += 1
            if self.changes > self.deadly:
                raise Killed
            return change(*args, **options)

        return guarded
