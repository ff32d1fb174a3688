"""Tables 2 and 3 of the paper, and three that it lacks: aggregates, final and best checkpoint, what was chosen."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trajtune.report.aggregates import average_ranks, improvement, interquartile_mean
from trajtune.report.index import Cell, Place, in_order
from trajtune.report.paper import paper_minutes
from trajtune.report.returns_table import DIGITS, entry, why_less
from trajtune.report.scores import differences, runs_of, selection_effect
from trajtune.report.table import Block, Entry, Row, Table
from trajtune.report.uncertainty import mean_of
from trajtune.report.wording import algorithm_name, cell_name, setting_words
from trajtune.study.cell import ZERO_SHOT
from trajtune.study.results import Result

SFT = "sft"


def size_tables(places: Sequence[Place]) -> list[Table]:
    """Table 2: scores and sizes by the size of the agent, where a study has several agents of one suite."""
    found = []
    for suite in in_order(place.results[0].run.suite for place in places):
        own = [place for place in places if place.results[0].run.suite == suite and place.tuned]
        groups = in_order(place.group for place in own)
        if len(groups) < 2:
            continue
        blocks = []
        for setting in dict.fromkeys(place.setting for place in own):
            here = {place.group: place for place in own if place.setting == setting}
            cells = list(dict.fromkeys(cell for place in here.values() for cell in place.tuned))
            rows = [row for cell in cells for row in _size_rows(here, groups, cell)]
            blocks.append(Block(setting_words(setting), tuple(rows)))
        title = f"Table 2, mean return by the size of the agent: {suite}"
        found.append(Table("table2", title, ("", *groups), tuple(blocks)))
    return found


def _size_rows(here: Mapping[str, Place], groups: Sequence[str], cell: Cell) -> tuple[Row, Row]:
    results = [here[group].cells.get(cell, []) if group in here else [] for group in groups]
    wanted = max((len(runs) for place in here.values() for runs in place.cells.values()), default=0)
    sizes = tuple(_size(runs) for runs in results)
    return Row(f"{cell_name(cell)}, size", sizes), Row(
        cell_name(cell), tuple(entry(r, "return", wanted) for r in results)
    )


def _size(results: Sequence[Result]) -> str:
    """What moves, in fp32, as the paper has it: 1 MB = 2^20 bytes (FACTS section 1)."""
    known = [r.trainable for r in results if r.trainable is not None]
    if not known:
        return "-"
    size = 4 * known[0]
    return f"{size / 2**20:.2f} MB" if size >= 2**17 else f"{size / 2**10:.2f} KB"


def runtime_tables(places: Sequence[Place]) -> list[Table]:
    """Table 3: what a run takes, as a ratio to SFT under full tuning in the same suite and setting."""
    blocks, columns = [], list(dict.fromkeys(cell[:2] for place in places for cell in place.tuned))
    for place in places:
        unit = _seconds(place.cells.get((SFT, "", "full"), []))
        if not unit:  # none, or too short for its two digits
            continue
        rows = []
        for tuning in in_order(cell[2] for cell in place.tuned):
            times = [_seconds(place.cells.get((*column, tuning), [])) for column in columns]
            rows.append(Row(tuning, tuple(Entry(None if t is None else t / unit) for t in times)))
        of = f"{place.group}, {setting_words(place.setting)}: 1 is {unit:.1f} s"
        blocks.append(Block(of, tuple(rows)))
    paper = paper_minutes("full")
    theirs = [
        Row(tuning, tuple(Entry(_ratio(paper_minutes(tuning).get(column[0]), paper[SFT])) for column in columns))
        for tuning in ("prompt", "adapter", "decorator", "full")
    ]
    if not blocks:
        return []
    blocks.append(Block("as the paper prints it, evaluation included", tuple(theirs)))
    note = "Median seconds of finetuning, without evaluation; what else the machine did is in them."
    head = ("", *(algorithm_name(column) for column in columns))
    return [Table("table3", "Table 3, time of a run by SFT x full", head, tuple(blocks), 2, (note,))]


def _ratio(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


def _seconds(results: Sequence[Result]) -> float | None:
    ended = [r.finetune_seconds for r in results if r.scored]
    return float(np.median(ended)) if ended else None


def aggregate_tables(places: Sequence[Place], baseline: str = SFT) -> list[Table]:
    """Every cell beyond its mean: interquartile mean, probability of improvement, average rank."""
    found = []
    for place in places:
        if not place.tuned:
            continue
        ranks: dict[Cell, float] = {}
        for tuning in in_order(cell[2] for cell in place.tuned):
            cells = {cell_name(c): runs_of(runs, place.unit) for c, runs in place.tuned.items() if c[2] == tuning}
            named = average_ranks({name: runs for name, runs in cells.items() if runs})
            ranks |= {c: named[cell_name(c)] for c in place.tuned if c[2] == tuning and cell_name(c) in named}
        rows = []
        for cell, results in place.cells.items():
            runs = runs_of(results, place.unit)
            if not runs:
                rows.append(Row(cell_name(cell), (why_less(results, 0) or "-", "", "", "", "")))
                continue
            middle = interquartile_mean(runs)
            shown = "" if middle.interval is None else f" [{middle.interval[0]:.3f}, {middle.interval[1]:.3f}]"
            over = [_improved(place, cell, base) for base in (baseline, ZERO_SHOT)]
            rank = Entry(ranks.get(cell))
            rows.append(Row(cell_name(cell), (Entry(mean_of([runs]).mean), f"{middle.value:.3f}{shown}", *over, rank)))
        head = ("", place.unit, "IQM", f"P(better than {baseline})", "P(better than zero-shot)", "rank in its tuning")
        title = f"Aggregates: {place.group}, {setting_words(place.setting)}"
        note = (
            "IQM: mean of the middle half of runs. P: share of paired episodes, equal ones count half; 95% intervals."
        )
        found.append(Table("aggregates", title, head, (Block("", tuple(rows)),), 3, (note,)))
    return found


def _improved(place: Place, cell: Cell, baseline: str) -> str:
    if cell[0] == ZERO_SHOT:
        return "-"
    pairs = differences(place.cells[cell], place.base(cell, baseline), place.unit)
    if not pairs:
        return "-"
    found = improvement(pairs)
    shown = "" if found.interval is None else f" [{max(0.0, found.interval[0]):.2f}, {min(1.0, found.interval[1]):.2f}]"
    return f"{found.mean:.2f}{shown}"


def checkpoint_tables(places: Sequence[Place]) -> list[Table]:
    """The end of training beside the best point of its curve, and what choosing the best adds."""
    found = []
    for place in places:
        rows = []
        for cell, results in place.tuned.items():
            effect = selection_effect(results, place.unit)
            ends = [r for r in results if r.scored and len(r.curve) > 2]
            if effect is None or not ends:
                continue
            last = runs_of(results, place.unit)
            rows.append(Row(cell_name(cell), (Entry(mean_of([last]).mean), Entry(effect), str(len(ends[0].curve)))))
        if rows:
            head = ("", f"final {place.unit}", "best minus last", "points")
            note = (
                "The best is chosen on the episodes that it is judged by, so this is what a table of best checkpoints "
                "gains by choosing alone; the paper's tables are of best checkpoints."
            )
            title = f"Final and best checkpoint: {place.group}, {setting_words(place.setting)}"
            digits = DIGITS[place.unit]
            found.append(Table("checkpoints", title, head, (Block("", tuple(rows)),), digits, (note,)))
    return found


def selection_tables(arms: Sequence[Mapping[str, Any]]) -> list[Table]:
    """What a study chose of which options on training tasks, as its ``choice.json`` has it."""
    blocks = []
    for arm in arms:
        rows = []
        for trial in arm["trials"]:
            options = ", ".join(f"{name}={value}" for name, value in sorted(trial["values"].items())) or "defaults"
            spread = float(np.std(trial["scores"], ddof=1)) if len(trial["scores"]) > 1 else None
            chosen = trial["state"] == "complete" and trial["values"] == arm["values"]
            note = "" if trial["state"] == "complete" else trial["state"]
            score = Entry(trial["score"], spread, "best" if chosen else "", note)
            rows.append(Row(options, (score, str(len(trial["scores"])))))
        blocks.append(Block(f"{arm['algorithm']} x {arm['tuning']}", tuple(rows)))
    if not blocks:
        return []
    note = "Mean over held-out training tasks and seeds, ± deviation between runs. Test tasks were not looked at."
    head = ("options", "normalised score", "runs")
    return [Table("selection", "What was chosen, on training tasks", head, tuple(blocks), 3, (note,))]
