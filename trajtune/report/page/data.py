"""What the page of a study says, as plain JSON."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from trajtune import __version__
from trajtune.report.cells import CellSummary, Comparison, summarise
from trajtune.report.index import Cell, Place, places
from trajtune.report.page.commands import commands
from trajtune.report.page.plain import plain_claim, plain_table, short
from trajtune.report.scores import Unit, differences, episodes, of_point, runs_of
from trajtune.report.table import Table
from trajtune.report.uncertainty import task_means
from trajtune.report.wording import asked_for, cell_name, setting_words
from trajtune.study.cell import ZERO_SHOT, Run
from trajtune.study.results import Result

FORMAT, VERSION = "trajtune-page", 1
NUMBERS = ("mean_return", "score", "gain", "p", "effect", "improved", "selected", "moved", "forgotten")
COUNTS = ("runs", "diverged", "failed")


def page_data(
    results: Sequence[Result],
    baseline: str = ZERO_SHOT,
    claims: Sequence[Mapping[str, Any]] = (),
    tables: Sequence[Table] = (),
    videos: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Return all that the page of a study shows: its cells beside a baseline, the claims and the tables given.

    ``videos`` has, by a cell's id, paths relative to the page. A claim has id, statement, source, verdict, estimate,
    interval, detail and seeds.
    """
    shared = _Shared()
    found: list[dict[str, Any]] = []
    told: list[dict[str, Any]] = []
    for i, (place, comparison) in enumerate(zip(places(results), summarise(results, baseline), strict=True)):
        told.append(_place(place))
        ids = {cell: shared.name(_id(place, cell)) for cell in place.cells}
        for cell, summary in zip((*place.zeros, *place.tuned), _summaries(comparison), strict=True):
            base = _base(place, cell, baseline)
            found.append(
                {
                    "id": ids[cell],
                    "place": i,
                    "base": None if base is None else ids[base],
                    **_numbers(summary),
                    **_cell(place, cell, place.base(cell, baseline), shared),
                    "videos": list((videos or {}).get(ids[cell], ())),
                }
            )
    return {
        "format": FORMAT,
        "version": VERSION,
        "trajtune": __version__,
        "baseline": baseline,
        "omitted": [],
        "few_shot": list(shared.few_shot),
        "machines": [dict(each) | {"versions": dict(each["versions"])} for each in shared.machines],
        "places": told,
        "cells": found,
        "claims": [plain_claim(each) for each in claims],
        "tables": [plain_table(each) for each in tables],
    }


class _Shared:
    """What many runs have in common is written once, and called by its number."""

    def __init__(self) -> None:
        self.few_shot: dict[str, int] = {}
        self.machines: list[dict[str, Any]] = []
        self.names: set[str] = set()

    def digest(self, digest: str | None) -> int | None:
        return None if digest is None else self.few_shot.setdefault(digest, len(self.few_shot))

    def machine(self, result: Result) -> int | None:
        if result.machine is None:
            return None
        told = asdict(result.machine)
        if told not in self.machines:
            self.machines.append(told)
        return self.machines.index(told)

    def name(self, wanted: str) -> str:
        """Two cells whose names differ in odd characters only are told apart by a number."""
        name, n = wanted, 2
        while name in self.names:
            name, n = f"{wanted}~{n}", n + 1
        self.names.add(name)
        return name


def _place(place: Place) -> dict[str, Any]:
    names = {r.run.task: r.name for r in place.results}
    return {
        "group": place.group,
        "suite": place.results[0].run.suite,
        "setting": setting_words(place.setting),
        "asked_for": asked_for(place.setting.target),
        "unit": place.unit,
        "tasks": {str(task): names[task] for task in sorted(names)},
    }


def _id(place: Place, cell: Cell) -> str:
    """What a link to a cell ends with: the same for the same cell, whatever else the study has."""
    s = place.setting
    data = f"{s.quality or 'any'}-{s.trajectories}-{s.reward}" + (f"-{s.target}" if s.target != "best" else "")
    algorithm, label, tuning = cell
    words = (place.group, data, "-".join(filter(None, (algorithm, tuning, label))))
    return "/".join(re.sub(r"[^A-Za-z0-9.+-]+", "_", word) for word in words)


def _summaries(comparison: Comparison) -> tuple[CellSummary, ...]:
    return (*comparison.zero_shots, *comparison.cells)


def _base(place: Place, cell: Cell, baseline: str) -> Cell | None:
    """The cell that it is compared with, as in ``Place.base``."""
    if baseline == ZERO_SHOT:
        return None if cell[0] == ZERO_SHOT else place.zero
    other = (baseline, "", cell[2])
    return other if cell[0] != baseline and other in place.cells else None


def _numbers(summary: CellSummary) -> dict[str, Any]:
    said: dict[str, Any] = {name: short(getattr(summary, name)) for name in NUMBERS}
    said |= {name: getattr(summary, name) for name in COUNTS}
    said["interval"] = None if summary.interval is None else [short(end) for end in summary.interval]
    said |= {"over": summary.over, "verdict": summary.verdict}
    return said | {"seconds": [short(summary.finetune_seconds), short(summary.evaluate_seconds)]}


def _cell(place: Place, cell: Cell, base: Sequence[Result], shared: _Shared) -> dict[str, Any]:
    runs = sorted(place.cells[cell], key=lambda r: (r.run.task, r.run.seed))
    first = runs[0].run
    repeated, limits = commands(first)
    algorithm, label, tuning = cell
    name = f"{ZERO_SHOT} (asked for {asked_for(label)})" if algorithm == ZERO_SHOT else cell_name(cell)
    return {
        "algorithm": algorithm,
        "label": label,
        "tuning": tuning,
        "name": name,
        "recipe": None if first.recipe is None else _recipe(first),
        "evaluation": asdict(first.evaluation),
        "agent": first.agent,
        "data": first.data,
        "commands": repeated,
        "command_of": [first.task, first.seed],
        "command_limits": limits,
        "machines": sorted({n for r in runs if (n := shared.machine(r)) is not None}),
        "curve": _curve(runs, place.unit),
        "tasks": _tasks(runs, base, place.unit),
        "results": [_run(r, place.unit, shared) for r in runs],
    }


def _recipe(run: Run) -> dict[str, Any]:
    """All but the seed, of which a cell has several."""
    told = asdict(run.recipe) if run.recipe is not None else {}
    del told["training"]["seed"]
    return told


def _run(result: Result, unit: Unit, shared: _Shared) -> dict[str, Any]:
    ended = [f"{word}: {why}" for word in ("diverged", "failed") if (why := getattr(result, word)) is not None]
    scores = episodes(result, unit) if result.scored else np.array([])
    return {
        "task": result.run.task,
        "seed": result.run.seed,
        "few_shot": shared.digest(result.few_shot),
        "asked_for": short(result.target_return),
        "mean": short(float(scores.mean())) if len(scores) else None,
        "episodes": [short(each) for each in scores.tolist()],
        "ended": ended[0] if ended else None,
    }


def _tasks(runs: Iterable[Result], base: Iterable[Result], unit: Unit) -> list[dict[str, Any]]:
    """Every task's score and gain: the mean over its seeds."""
    scored = [r for r in runs if r.scored]
    scores, gains = task_means(runs_of(scored, unit)), task_means(differences(scored, base, unit))
    return [
        {
            "task": task,
            "score": short(float(means.mean())),
            "gain": short(float(gains[task].mean())) if task in gains else None,
            "runs": len(means),
        }
        for task, means in scores.items()
    ]


def _curve(runs: Iterable[Result], unit: Unit) -> dict[str, Any]:
    """Every scored run's curve and their mean, task by task, at each step that any run has a point of."""
    own = {(r.run.task, r.run.seed): {p.step: of_point(p, unit) for p in r.curve} for r in runs if r.scored}
    steps = sorted({step for points in own.values() for step in points})
    lines = [[short(points.get(step)) for step in steps] for points in own.values()]
    return {"steps": steps, "mean": [_mean_at(step, own) for step in steps], "runs": lines}


def _mean_at(step: int, own: Mapping[tuple[int, int], Mapping[int, float | None]]) -> float | None:
    by_task: dict[int, list[float]] = {}
    for (task, _), points in own.items():
        if (value := points.get(step)) is not None:
            by_task.setdefault(task, []).append(value)
    return short(float(np.mean([np.mean(values) for values in by_task.values()]))) if by_task else None
