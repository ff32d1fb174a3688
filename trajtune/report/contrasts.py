"""Contrasts of facts: weighted sums of mean scores over cells that are alike in all that is not named."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trajtune.report.facts import Fact
from trajtune.report.uncertainty import Array, Runs, average, average_of
from trajtune.study.cell import ZERO_SHOT

WORDS = {"fewest": 0, "second": -2, "largest": -1}
"""What stands for a place among the values that a suite has, in their order."""
ROUNDING = 1e-9
"""Sums of scores below this are what rounding leaves of equal ones."""
Selector = Mapping[str, Any]
Term = tuple[float, Selector]


def contrast(terms: Sequence[Term], known: Sequence[Fact], margin: float = 0.0) -> dict[str, Runs]:
    """Return the weighted sum for every suite, task and seed [1 or E].

    Facts are split by all that no term names; in each part where every term has something, the sum is taken, and the
    parts are averaged.
    """
    named = {name for _, selector in terms for name in selector}
    if not any(ZERO_SHOT in listed(selector.get("algorithm")) for _, selector in terms):
        known = [fact for fact in known if fact.tuned]  # it is no algorithm that "all" could mean
    parts: dict[tuple[Any, ...], list[Fact]] = {}
    for fact in known:
        parts.setdefault(fact.context(named), []).append(fact)
    sums: dict[str, dict[tuple[int, int], list[Array]]] = {}
    for part in parts.values():
        found = [average_of([f.runs for f in part if _fits(f, selector, known)]) for _, selector in terms]
        for place in set.intersection(*(set(each) for each in found)) if found else ():
            own = [each[place] for each in found]
            if len({len(each) for each in own}) > 1:  # of other numbers of episodes: no pairs, but means
                own = [np.array([each.mean()]) for each in own]
            value = sum((w * each for (w, _), each in zip(terms, own, strict=True)), np.zeros(1))
            value = np.where(np.abs(value) < ROUNDING, 0.0, value) + margin
            sums.setdefault(part[0].suite, {}).setdefault(place, []).append(value)
    return {suite: {place: average(values) for place, values in sorted(runs.items())} for suite, runs in sums.items()}


def _fits(fact: Fact, selector: Selector, known: Sequence[Fact]) -> bool:
    for name, wanted in selector.items():
        if isinstance(wanted, str) and wanted in WORDS:
            there = values(name, [f for f in known if f.suite == fact.suite])
            if len(there) < 2 or fact.about.get(name) != there[WORDS[wanted]]:
                return False
        elif fact.about.get(name) not in listed(wanted):
            return False
    return True


def listed(value: Any) -> list[Any]:
    """Return what a selector asks for as a list."""
    return value if isinstance(value, list) else [value]


def alike(of: str, known: Sequence[Fact]) -> dict[tuple[str, ...], list[Any]]:
    """Return suites that have the same values of it, and these: a step leads from one to the next within a suite."""
    found: dict[tuple[Any, ...], list[str]] = {}
    for suite in dict.fromkeys(fact.suite for fact in known):
        found.setdefault(tuple(values(of, [f for f in known if f.suite == suite])), []).append(suite)
    return {tuple(suites): list(same) for same, suites in found.items()}


def values(of: str, known: Sequence[Fact]) -> list[Any]:
    """Return what the results have of it, in order; zero-shot is no algorithm that is asked about."""
    found = dict.fromkeys(fact.about[of] for fact in known if fact.about.get(of) is not None and fact.tuned)
    return sorted(found) if all(isinstance(value, int | float) for value in found) else list(found)
