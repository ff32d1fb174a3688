"""Table 1: every algorithm under every tuning, a block a tuning, a line a suite, as the paper lays it out."""

from collections.abc import Mapping, Sequence

import numpy as np

from trajtune.report.index import Cell, Place, in_order
from trajtune.report.paper import agreement, paper_returns
from trajtune.report.scores import Unit, differences, runs_of
from trajtune.report.table import Block, Entry, Row, Table
from trajtune.report.uncertainty import CONFIDENCE, Runs, holm, mean_of
from trajtune.report.wording import algorithm_name, setting_words
from trajtune.study.cell import ZERO_SHOT
from trajtune.study.results import Result

DIGITS = {"return": 2, "normalised": 3, "success": 3}
Column = tuple[str, str]
"""Algorithm and label."""


def returns_tables(places: Sequence[Place]) -> list[Table]:
    """Return a table a setting, of returns, and another of normalised scores or success where those are known."""
    found = []
    for setting in dict.fromkeys(place.setting for place in places):
        own = [place for place in places if place.setting == setting and place.tuned]
        if not own:
            continue
        units: list[Unit] = ["return", *({place.unit for place in own} - {"return"})]
        for unit in units:
            told = [place for place in own if unit in ("return", place.unit)]
            found.append(_table(told, unit))
    return found


def _table(places: Sequence[Place], unit: Unit) -> Table:
    columns: list[Column] = [(ZERO_SHOT, ""), *dict.fromkeys(cell[:2] for place in places for cell in place.tuned)]
    tunings = in_order(cell[2] for place in places for cell in place.tuned)
    blocks, notes = [], []
    for tuning in tunings:
        rows = [Row(place.group, _entries(place, columns, tuning, unit)) for place in places]
        average = _average(rows, [[_runs(place, c, tuning, unit) for c in columns] for place in places])
        blocks.append(Block(tuning, tuple([*rows, Row("average", average)] if len(places) > 1 else rows)))
        notes += [line for place in places if (line := _beside_the_paper(place, tuning))] if unit == "return" else []
    what = {"return": "mean return", "normalised": "normalised score", "success": "success rate"}[unit]
    return Table(
        "table1",
        f"Table 1, {what}: {setting_words(places[0].setting)}",
        ("", *(algorithm_name(column) for column in columns)),
        tuple(blocks),
        DIGITS[unit],
        (
            "Mean over tasks, ± deviation over seeds of that mean, at the end of training. Zero-shot is the better of "
            "asking for the few-shot set's best return and for its mean.",
            *notes,
        ),
    )


def _results(place: Place, column: Column, tuning: str) -> list[Result]:
    if column[0] == ZERO_SHOT:
        return [] if place.zero is None else place.cells[place.zero]
    return place.cells.get((*column, tuning), [])


def _runs(place: Place, column: Column, tuning: str, unit: Unit) -> Runs:
    return runs_of(_results(place, column, tuning), unit)


def over_seeds(runs: Runs) -> dict[int, float]:
    """Return each seed's mean over the tasks that all seeds have, as the paper averages."""
    names = {seed for _, seed in runs}
    whole = {task for task, _ in runs if all((task, seed) in runs for seed in names)}
    seeds: dict[int, list[float]] = {}
    for (task, seed), each in runs.items():
        if task in whole:
            seeds.setdefault(seed, []).append(float(each.mean()))
    return {seed: float(np.mean(values)) for seed, values in sorted(seeds.items())}


def deviation(values: Mapping[int, float]) -> float | None:
    """Return the sample deviation over seeds; None of one."""
    return float(np.std(list(values.values()), ddof=1)) if len(values) > 1 else None


def why_less(results: Sequence[Result], wanted: int) -> str:
    """Say what is missing of a cell that should have so many runs; nothing where all are there."""
    if not results:
        return "missing"
    counts = {"diverged": sum(r.diverged is not None for r in results), "failed": sum(bool(r.failed) for r in results)}
    parts = [f"{count} {name}" for name, count in counts.items() if count]
    if not parts and len(results) < wanted:
        parts = [f"{len(results)} of {wanted}"]
    return ", ".join(parts)


def entry(results: Sequence[Result], unit: Unit, wanted: int) -> Entry:
    """Return mean and deviation over seeds, and what is missing."""
    runs, note = runs_of(results, unit), why_less(results, wanted)
    if not runs:
        return Entry(note=note)
    return Entry(mean_of([runs]).mean, deviation(over_seeds(runs)), note=note)


def _entries(place: Place, columns: Sequence[Column], tuning: str, unit: Unit) -> tuple[Entry, ...]:
    results = [_results(place, column, tuning) for column in columns]
    wanted = max(map(len, place.cells.values()))
    return mark_best([entry(each, unit, wanted) for each in results], results, unit)


def mark_best(entries: Sequence[Entry], results: Sequence[Sequence[Result]], unit: Unit) -> tuple[Entry, ...]:
    """Mark the best of the complete entries, and those that are not told apart from it."""
    whole = [i for i, each in enumerate(entries) if each.value is not None and not each.note]
    if len(whole) < 2:
        return tuple(entries)
    best = max(whole, key=lambda i: entries[i].value or 0.0)
    others = [i for i in whole if i != best]
    told = holm([mean_of([differences(results[best], results[i], unit)]).p for i in others])
    marks = {i: "tied" for i, p in zip(others, told, strict=True) if p is None or p > 1 - CONFIDENCE}
    marks[best] = "best"
    return tuple(
        Entry(each.value, each.spread, marks.get(i, ""), each.note)  # type: ignore[arg-type]
        for i, each in enumerate(entries)
    )


def _average(rows: Sequence[Row], runs: Sequence[Sequence[Runs]]) -> tuple[Entry, ...]:
    """Over suites, for the columns that all have; returns of suites are added as the paper adds them."""
    found = []
    for i, column in enumerate(zip(*runs, strict=True)):
        if not all(column):
            found.append(Entry(note="missing"))
            continue
        seeds = [over_seeds(each) for each in column]
        common = set.intersection(*map(set, seeds))
        means = {seed: float(np.mean([each[seed] for each in seeds])) for seed in common}
        gaps = any(isinstance(entry := row.entries[i], Entry) and entry.note for row in rows)
        value = float(np.mean([mean_of([each]).mean for each in column]))
        found.append(Entry(value, deviation(means), note="of what is there" if gaps else ""))
    return tuple(found)


def cell_means(place: Place, tuning: str) -> dict[str, float]:
    """Return each unlabelled algorithm's mean return under a tuning, zero-shot's beside them."""
    cells: dict[str, Cell] = {cell[0]: cell for cell in place.tuned if cell[1:] == ("", tuning)}
    if place.zero is not None:
        cells[ZERO_SHOT] = place.zero
    runs = {name: runs_of(place.cells[cell], "return") for name, cell in cells.items()}
    return {name: mean_of([each]).mean for name, each in runs.items() if each}


def _beside_the_paper(place: Place, tuning: str) -> str:
    suite, setting = place.results[0].run.suite, place.setting
    if (setting.quality, setting.trajectories, setting.reward) != ("expert", 50, "dense"):
        return ""
    found = agreement(cell_means(place, tuning), paper_returns(tuning, suite))
    return "" if found is None else f"Rank correlation with the paper's line, {tuning}, {place.group}: {found:+.2f}."
