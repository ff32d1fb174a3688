"""Experts that ship with the package: trained actors in half precision, and which of them serve which task.

An asset is a folder of a few actors under a signed header (``artifacts.EXPERT``), made by ``trajtune.experts.packing``.
Its actors see the goal, so that they serve any goal of their suite's distribution and the suite's variants, too.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from trajtune import artifacts
from trajtune.errors import UserError
from trajtune.experts.actors import sac_actor
from trajtune.files import read_json, write_json
from trajtune.progress import Progress
from trajtune.suites.base import Acting, Rung, Suite

ASSETS = Path(str(files("trajtune").joinpath("assets", "experts")))
NOTE = "shipped.json"
"""What a collection keeps of the experts it used: their header."""


def shipped_with(suite: Suite, assets: Path | None = None) -> "Shipped | None":
    """Return the experts that ship for a suite, or for the one it is a variant of; None if there are none."""
    for name in (suite.name, suite.variant_of):
        if name and ((folder := (assets or ASSETS) / name) / artifacts.EXPERT.header).is_file():
            return Shipped(folder)
    return None


@dataclass(frozen=True)
class Shipped:
    """Actors in a folder: ready at once, without training and what training needs."""

    folder: Path
    summary: str = "trained actors that ship with trajtune"

    def check(self, suite: Suite, qualities: Sequence[str], updates: int) -> None:
        """Refuse a number of updates, and an asset that is damaged or of another suite."""
        if updates:
            raise UserError(f"the experts that ship for {suite.name} are trained: leave out updates, or train others")
        self._header(suite)

    def ladders(
        self, suite: Suite, tasks: Sequence[int], folder: Path, updates: int, seed: int, progress: Progress
    ) -> dict[int, list[Rung]]:
        """Return the rungs that were found for each task, those of the nearest goal where it has another.

        ``folder`` keeps the header of what is used. One that keeps another's is a ``UserError``: an unfinished
        collection does not go on with experts that were exchanged meanwhile.
        """
        header = self._header(suite)
        if (folder / NOTE).exists() and read_json(folder / NOTE, "expert").get("digest") != header["digest"]:
            raise UserError(
                f"{folder / NOTE} tells of other experts than ship with this trajtune: choose another folder"
            )
        write_json(folder / NOTE, header)
        return {task: _ladder(header["tasks"], suite.task(task).goal) for task in tasks}

    def acting(self, suite: Suite, task: int, rung: Rung) -> Acting:
        """Return an actor under the goal of a task."""
        return sac_actor(self.folder / rung.key, suite.task(task).goal)

    def _header(self, suite: Suite) -> dict[str, Any]:
        header = artifacts.read_header(self.folder, artifacts.EXPERT)
        if header.get("suite") not in (suite.name, suite.variant_of):
            raise UserError(f"{self.folder} holds experts of suite {header.get('suite')}, not of {suite.name}")
        if not header.get("tasks"):
            raise UserError(f"{self.folder / artifacts.EXPERT.header} says nothing of tasks: pack the actors first")
        return header


def _ladder(tasks: Sequence[Mapping[str, Any]], goal: Sequence[float]) -> list[Rung]:
    nearest = min(tasks, key=lambda each: math.dist(each["goal"], goal))
    return [Rung(Path(name).stem, name) for name in nearest["rungs"]]
