"""Results by what they are of: suite (or the study's name for agent and data), setting, algorithm, label and tuning."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trajtune.data.setting import Setting
from trajtune.report.scores import Unit, common_unit, runs_of
from trajtune.report.uncertainty import mean_of
from trajtune.study.cell import ZERO_SHOT
from trajtune.study.results import Result

Cell = tuple[str, str, str]
"""Algorithm, label and tuning. Of zero-shot, the label is what the agent was asked for."""


@dataclass(frozen=True)
class Place:
    """All results of one suite and setting, in the order of the study."""

    group: str
    setting: Setting
    cells: dict[Cell, list[Result]]

    @cached_property
    def results(self) -> list[Result]:
        return [r for runs in self.cells.values() for r in runs]

    @cached_property
    def unit(self) -> Unit:
        """What all of them can be told in."""
        return common_unit(self.results)

    @property
    def tuned(self) -> dict[Cell, list[Result]]:
        """Without zero-shot."""
        return {cell: runs for cell, runs in self.cells.items() if cell[0] != ZERO_SHOT}

    @property
    def zeros(self) -> dict[Cell, list[Result]]:
        """Zero-shot, by what the agent was asked for."""
        return {cell: runs for cell, runs in self.cells.items() if cell[0] == ZERO_SHOT}

    @cached_property
    def zero(self) -> Cell | None:
        """The better zero-shot: over as many runs as there are, then by score, the first of equals."""

        def standing(cell: Cell) -> tuple[int, float]:
            scored = [r for r in self.cells[cell] if r.scored]
            return len(scored), mean_of([runs_of(scored, self.unit)]).mean if scored else -np.inf

        return max(self.zeros, key=standing, default=None)

    def base(self, cell: Cell, baseline: str) -> list[Result]:
        """Return what a cell is compared with: the better zero-shot, or an algorithm under the same tuning."""
        if baseline == ZERO_SHOT:
            return [] if self.zero is None else self.cells[self.zero]
        return [] if cell[0] == baseline else self.cells.get((baseline, "", cell[2]), [])

    @property
    def tasks(self) -> tuple[str, ...]:
        """Their names, by number."""
        return tuple(name for _, name in sorted({r.run.task: r.name for r in self.results}.items()))


def places(results: Iterable[Result]) -> list[Place]:
    """Split results into suites and settings. Zero-shot is shown beside all that have the same data.

    A suite and data of which an unfinished study has zero-shot alone is a place, too.
    """
    own: dict[tuple[str, Setting], list[Result]] = {}
    found: dict[tuple[str, Setting], None] = {}
    data: dict[Setting, Setting] = {}
    for r in results:
        setting = r.run.setting
        if setting not in data:
            data[setting] = setting.data
        own.setdefault((r.group, data[setting]), []).append(r)
        if r.run.recipe is not None:
            found[r.group, setting] = None
    covered = {(group, data[setting]) for group, setting in found}
    found |= dict.fromkeys(place for place in own if place not in covered)
    return [_place(group, setting, own[group, setting.data]) for group, setting in found]


def _place(group: str, setting: Setting, own: Sequence[Result]) -> Place:
    cells: dict[Cell, list[Result]] = {}
    for r in own:
        if r.run.recipe is None:
            cells.setdefault((ZERO_SHOT, str(r.run.setting.target), r.run.tuning), []).append(r)
        elif r.run.setting == setting:
            cells.setdefault((r.run.algorithm, r.label, r.run.tuning), []).append(r)
    return Place(group, setting, cells)


def in_order(values: Iterable[str]) -> list[str]:
    """Return every value once, as they come."""
    return list(dict.fromkeys(values))
