"""Claims, tables and numbers as plain JSON."""

import math
from collections.abc import Mapping
from typing import Any

from trajtune.report.table import Entry, Row, Table, with_spread

DIGITS = 6
"""Significant ones: more than anybody reads, and few enough that fifty thousand episodes are half a megabyte."""


def short(value: float | None) -> float | None:
    """Round to what a page needs; JSON has no word for what is not finite."""
    if value is None or not math.isfinite(value):
        return None
    rounded = float(f"{value:.{DIGITS}g}")
    return int(rounded) if rounded.is_integer() else rounded


def plain_claim(claim: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a claim says, words as words."""
    told = {name: str(claim[name]) for name in ("id", "statement", "source", "verdict", "detail")}
    interval = claim["interval"]
    ends = None if interval is None else [short(end) for end in interval]
    return {**told, "estimate": short(claim["estimate"]), "interval": ends, "seeds": claim["seeds"]}


def plain_table(table: Table) -> dict[str, Any]:
    """Return a table as it is printed: of every entry its words and its mark."""
    return {
        "name": table.name,
        "title": table.title,
        "head": list(table.head),
        "blocks": [
            {"heading": block.heading, "rows": [_row(row, table.digits) for row in block.rows]}
            for block in table.blocks
        ],
        "notes": table.plain_notes,
    }


def _row(row: Row, digits: int) -> list[list[str]]:
    return [[row.name, ""], *(_entry(entry, digits) for entry in row.entries)]


def _entry(entry: Entry | str, digits: int) -> list[str]:
    """What is printed, and its mark."""
    if isinstance(entry, str):
        return [entry, ""]
    if entry.value is None:
        return [entry.note or "-", ""]
    shown = with_spread(entry, digits)
    shown += " †" if entry.mark == "tied" else ""
    return [f"{shown} ({entry.note})" if entry.note else shown, entry.mark]
