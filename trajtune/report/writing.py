"""All that a study's results allow, written into a folder: tables, figures, claims and the page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from trajtune.errors import UserError, unknown
from trajtune.files import write_json, write_text
from trajtune.progress import Progress, silent
from trajtune.report.cells import Comparison, summarise
from trajtune.report.cells_table import cells_tables
from trajtune.report.claims import claims_tables, claims_told
from trajtune.report.figures import gains, lines, qualities
from trajtune.report.figures.style import save
from trajtune.report.index import Place, places
from trajtune.report.page.data import page_data
from trajtune.report.page.page import write_page
from trajtune.report.returns_table import returns_tables
from trajtune.report.study_tables import (
    aggregate_tables,
    checkpoint_tables,
    runtime_tables,
    selection_tables,
    size_tables,
)
from trajtune.report.table import Table, csv_text, document, markdown
from trajtune.study.cell import ZERO_SHOT
from trajtune.study.choosing import arms_of
from trajtune.study.results import Result


@dataclass(frozen=True)
class Given:
    """What a report is made of."""

    results: Sequence[Result]
    """In the order of the study."""
    baseline: str = ZERO_SHOT
    arms: Sequence[Any] = ()
    """What the study chose on training tasks."""

    @cached_property
    def places(self) -> list[Place]:
        return places(self.results)

    @cached_property
    def comparisons(self) -> list[Comparison]:
        return summarise(self.results, self.baseline)

    @cached_property
    def mixed(self) -> str:
        """Say of what several kinds the results are that a study usually has one of; nothing where it is one."""
        machines = [r.machine for r in self.results if r.machine is not None]
        kinds: dict[str, set[str]] = {
            "processors": {m.processor for m in machines},
            "number formats": {r.run.evaluation.precision for r in self.results},
            **{f"versions of {name}": {m.versions[name] for m in machines if name in m.versions} for name in VERSIONS},
        }
        told = [f"{len(found)} {name} ({', '.join(sorted(found))})" for name, found in kinds.items() if len(found) > 1]
        return f"These results are of {'; '.join(told)}." if told else ""


VERSIONS = ("trajtune", "torch", "mujoco", "metaworld")
"""What a result names the version of, and numbers may depend on."""
TABLES: dict[str, Callable[[Given], list[Table]]] = {
    "table1": lambda given: returns_tables(given.places),
    "table2": lambda given: size_tables(given.places),
    "table3": lambda given: runtime_tables(given.places),
    "cells": lambda given: cells_tables(given.comparisons),
    "aggregates": lambda given: aggregate_tables(given.places),
    "checkpoints": lambda given: checkpoint_tables(given.places),
    "selection": lambda given: selection_tables(given.arms),
    "claims": lambda given: claims_tables(given.places),
}
FIGURES: dict[str, Callable[[Given], Any | None]] = {
    "figure1": lambda given: qualities.figure1(given.places),
    "figure2": lambda given: lines.figure2(given.places),
    "figure3": lambda given: lines.figure3(given.places),
    "figure4": lambda given: qualities.figure4(given.places),
    "figure5": lambda given: lines.figure5(given.places),
    "figure7": lambda given: lines.figure7(given.places),
    "figure8": lambda given: qualities.figure8(given.places),
    "curves": lambda given: lines.curves(given.places),
    "gains": lambda given: gains.gains(given.comparisons),
    "profiles": lambda given: gains.profiles(given.places),
}
PAGE = "page"
PARTS = (*TABLES, *FIGURES, PAGE)
MARK = "report.json"
"""What says that a folder is a report."""


def given_in(place: Path | str, baseline: str = ZERO_SHOT) -> Given:
    """Read a study's folder or pack."""
    from trajtune.study.stored import read_results

    return Given(read_results(place), baseline, arms_of(Path(place)) if Path(place).is_dir() else [])


def check(only: Sequence[str], out: Path | None) -> None:
    """Raise a ``UserError`` for a part that no report has, and for a folder that is nobody's to write over."""
    for part in only:
        if part not in PARTS:
            raise unknown("part of a report", part, PARTS)
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: a report is a folder")
    if out is not None and out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        raise UserError(f"{out} already holds something that is no report: choose another folder")


def write_report(
    given: Given, out: Path | str, only: Sequence[str] = (), progress: Progress = silent
) -> dict[str, list[Path]]:
    """Write every part that the results allow, or those of ``only``, and return its files by part.

    A part that is asked for and that the results do not allow is a ``UserError``.
    """
    out = Path(out)
    check(only, out)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / MARK, {"format": "trajtune-report", "version": 1, "trajtune": metadata.version("trajtune")})
    written: dict[str, list[Path]] = {}
    tables = cache(lambda part: TABLES[part](given))  # made once, for their own files and for the page
    wanted = [part for part in PARTS if not only or part in only]
    for done, part in enumerate(wanted):
        progress("writing the report", done, len(wanted))
        if part == PAGE:
            paths = _write_page(given, tables, out / "index.html")
        elif part in TABLES:
            paths = _write_tables(tables(part), out / "tables" / part)
        else:
            figure = FIGURES[part](given)
            paths = [] if figure is None else save(figure, out / "figures" / part)
        if not paths:  # what another report left here would be taken for this one's
            for old in (*(out / "tables").glob(f"{part}.*"), *(out / "figures").glob(f"{part}.*")):
                old.unlink()
        if paths:
            written[part] = paths
        elif only:
            raise UserError(f"these results do not make a {part}: {NEEDS.get(part, 'they have nothing of it')}")
    progress("writing the report", len(wanted), len(wanted))
    return written


NEEDS = {
    "table2": "it takes several agents of one suite",
    "table3": "it takes sft x full",
    "selection": "the study chose nothing on training tasks, or its folder is packed",
    "checkpoints": "it takes points along training",
    "figure1": "it takes two qualities from as many trajectories, dense",
    "figure2": "it takes two numbers of trajectories, dense",
    "figure3": "it takes two numbers of trajectories, sparse",
    "figure4": "it takes sparse and dense reward from the same data",
    "figure5": "it takes several agents of one suite",
    "figure7": "it takes an algorithm under several alphas",
    "curves": "it takes points along training",
    "gains": f"nothing has a baseline, such as {ZERO_SHOT}",
}
"""What a part needs of the results, for who asks for it in vain."""


def _write_tables(tables: Sequence[Table], stem: Path) -> list[Path]:
    if not tables:
        return []
    stem.parent.mkdir(parents=True, exist_ok=True)
    forms = {"md": "\n".join(map(markdown, tables)), "tex": document(tables), "csv": csv_text(tables)}
    for kind, content in forms.items():
        write_text(stem.with_suffix(f".{kind}"), content)
    return [stem.with_suffix(f".{kind}") for kind in forms]


def _write_page(given: Given, tables: Callable[[str], list[Table]], path: Path) -> list[Path]:
    """Cells and claims have views of their own there; the other tables stand as they are."""
    shown = [table for part in TABLES if part not in ("cells", "claims") for table in tables(part)]
    write_page(path, page_data(given.results, given.baseline, claims_told(given.places), shown))
    return [path]
