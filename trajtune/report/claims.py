"""The paper's claims as tests on results: supported, contradicted, or not decided, and by how much.

A claim is one contrast or several: a weighted sum of mean scores over cells that are alike in all that the contrast
does not name. It is supported where every contrast is told apart from zero on the side that the claim says, all of
the claim's contrasts counted (Holm), contradicted where one is told apart on the other side.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np

from trajtune.configs import structured
from trajtune.report.facts import Fact, facts
from trajtune.report.index import Place
from trajtune.report.table import Block, Row, Table
from trajtune.report.uncertainty import CONFIDENCE, Array, Estimate, Runs, holm, mean_of, seeds_to_decide

Verdict = Literal["supported", "contradicted", "not decided", "no results"]
WORDS = {"fewest": 0, "second": -2, "largest": -1}
"""What stands for a place among the values that there are, in their order."""
Selector = Mapping[str, Any]
Term = tuple[float, Selector]


@dataclass(frozen=True)
class Claim:
    """A line of ``claims.yaml``, which says what its fields mean."""

    id: str
    says: str
    where: str
    terms: tuple[tuple[float, dict[str, Any]], ...]
    each: str = ""
    steps: str = ""
    margin: float = 0.0


@dataclass(frozen=True)
class Contrast:
    """One test of a claim."""

    of: str
    """Which, where there are several: "adapter", "5 to 50"."""
    estimate: Estimate
    runs: Mapping[str, Runs] = field(repr=False)
    """By suite."""


@dataclass(frozen=True)
class Answer:
    """What the results say of a claim."""

    claim: Claim
    verdict: Verdict
    contrasts: tuple[Contrast, ...]
    p: tuple[float | None, ...]
    """Of every contrast, corrected."""
    lacking: tuple[str, ...]
    """What the claim names and the results do not have: it is judged without."""
    seeds: int | None
    """So many seeds a task would decide it, going by the variances seen; None: no number would, or nobody can tell."""

    @property
    def detail(self) -> str:
        """Every contrast in words, and what is lacking."""
        said = [f"without {', '.join(self.lacking)}"] if self.lacking else []
        for contrast in self.contrasts:
            e = contrast.estimate
            interval = "" if e.interval is None else f" [{e.interval[0]:+.3f}, {e.interval[1]:+.3f}]"
            said.append(f"{contrast.of}: {e.mean:+.3f}{interval}" if contrast.of else f"{e.mean:+.3f}{interval}")
        return "; ".join(said)


@cache
def claims() -> list[Claim]:
    """Return the paper's claims."""
    import yaml

    found: list[Claim] = structured(
        list[Claim], yaml.safe_load(files("trajtune.report").joinpath("claims.yaml").read_text("utf-8")), "claims"
    )
    return found


def claims_tables(places: Sequence[Place]) -> list[Table]:
    """Return every claim, what the results say of it, and by how much."""
    rows = []
    for found in answers(places):
        more = f"{found.seeds} seeds a task would decide it" if found.seeds else ""
        rows.append(Row(found.claim.says, (found.claim.where, found.verdict, found.detail, more)))
    head = ("the paper says", "where", "here", "difference, 95% interval", "")
    note = "A claim is decided where all its tests are told apart from zero after Holm's correction within the claim."
    return [Table("claims", "The paper's claims", head, (Block("", tuple(rows)),), 3, (note,))] if places else []


def claims_told(places: Sequence[Place]) -> list[dict[str, Any]]:
    """Return the same as plain values; of several tests, the number is that of the lowest."""
    told = []
    for found in answers(places):
        lowest = min((each.estimate for each in found.contrasts), key=lambda e: e.mean, default=None)
        told.append(
            {
                "id": found.claim.id,
                "statement": found.claim.says,
                "source": found.claim.where,
                "verdict": found.verdict,
                "estimate": None if lowest is None else lowest.mean,
                "interval": None if lowest is None else lowest.interval,
                "detail": found.detail,
                "seeds": found.seeds,
            }
        )
    return told


def answers(places: Sequence[Place]) -> list[Answer]:
    """Return what these results say of every claim."""
    known = facts(places)
    return [answer(claim, known) for claim in claims()]


def answer(claim: Claim, known: Sequence[Fact]) -> Answer:
    """Return what is to be said of a claim."""
    contrasts = []
    for name, terms in _tests(claim, known):
        runs = contrast(terms, known, claim.margin)
        if runs:
            contrasts.append(Contrast(name, mean_of(runs.values()), runs))
    p = holm([each.estimate.p for each in contrasts])
    told = [each.estimate.mean for each, q in zip(contrasts, p, strict=True) if q is not None and q <= 1 - CONFIDENCE]
    verdict: Verdict = "not decided"
    if not contrasts:
        verdict = "no results"
    elif any(mean < 0 for mean in told):
        verdict = "contradicted"
    elif len(told) == len(contrasts):
        verdict = "supported"
    seeds = _more_seeds(contrasts, p) if verdict == "not decided" else None
    return Answer(claim, verdict, tuple(contrasts), tuple(p), _lacking(claim, known), seeds)


def _lacking(claim: Claim, known: Sequence[Fact]) -> tuple[str, ...]:
    named = {
        (name, each)
        for _, selector in claim.terms
        for name, value in selector.items()
        for each in (value if isinstance(value, list) else [value])
        if each not in WORDS
    }
    return tuple(sorted(str(value) for name, value in named if all(f.about.get(name) != value for f in known)))


def _more_seeds(contrasts: Sequence[Contrast], p: Sequence[float | None]) -> int | None:
    """Seeds that all contrasts need which are not told apart."""
    needed = []
    for each, q in zip(contrasts, p, strict=True):
        if q is None or q > 1 - CONFIDENCE:
            whole = {(i * 10_000 + t, s): v for i, runs in enumerate(each.runs.values()) for (t, s), v in runs.items()}
            needed.append(seeds_to_decide(whole))
    return None if None in needed else max((n for n in needed if n is not None), default=None)


def _tests(claim: Claim, known: Sequence[Fact]) -> Iterable[tuple[str, list[Term]]]:
    """Every test of a claim: its name, and the terms of the sum."""
    terms: list[Term] = list(claim.terms)
    named: dict[str, list[Term]] = {"": terms}
    if claim.each:
        wanted = _wanted(terms, claim.each) or _values(claim.each, known)
        named = {str(value): _narrowed(terms or [(1.0, {})], claim.each, value) for value in wanted}
    for name, own in named.items():
        if not claim.steps:
            yield name, own
            continue
        values = _values(claim.steps, known)
        for low, high in itertools.pairwise(values):
            step = f"{low:g} to {high:g}"
            yield (
                f"{name}, {step}" if name else step,
                [(w * sign, {**s, claim.steps: v}) for sign, v in ((1, high), (-1, low)) for w, s in own],
            )


def _values(of: str, known: Sequence[Fact]) -> list[Any]:
    """What the results have of it, in order; zero-shot is no algorithm that is asked about."""
    found = dict.fromkeys(fact.about[of] for fact in known if fact.about.get(of) is not None and fact.tuned)
    return sorted(found) if all(isinstance(value, int | float) for value in found) else list(found)


def _wanted(terms: Sequence[Term], of: str) -> list[Any]:
    """The values that the first term names; all there are, where it names none."""
    value = terms[0][1].get(of) if terms else None
    return value if isinstance(value, list) else [] if value is None else [value]


def _narrowed(terms: Sequence[Term], of: str, value: Any) -> list[Term]:
    """The same terms for one value; a term that speaks of another one, such as zero-shot, stays."""
    return [(w, {**s, of: value}) if isinstance(s.get(of), list) or of not in s else (w, s) for w, s in terms]


def contrast(terms: Sequence[Term], known: Sequence[Fact], margin: float = 0.0) -> dict[str, Runs]:
    """Return the weighted sum for every suite, task and seed [1 or E].

    Facts are split by all that no term names; in each part where every term has something, the sum is taken, and the
    parts are averaged.
    """
    named = {name for _, selector in terms for name in selector}
    parts: dict[tuple[Any, ...], list[Fact]] = {}
    for fact in known:
        parts.setdefault(fact.context(named), []).append(fact)
    sums: dict[str, dict[tuple[int, int], list[Array]]] = {}
    for part in parts.values():
        found = [_mean_of([f for f in part if _fits(f, selector, known)]) for _, selector in terms]
        for place in set.intersection(*(set(each) for each in found)) if found else ():
            value = sum((w * each[place] for (w, _), each in zip(terms, found, strict=True)), np.zeros(1)) + margin
            sums.setdefault(part[0].suite, {}).setdefault(place, []).append(value)
    return {
        suite: {place: np.asarray(_average(values)) for place, values in sorted(runs.items())}
        for suite, runs in sums.items()
    }


def _fits(fact: Fact, selector: Selector, known: Sequence[Fact]) -> bool:
    for name, wanted in selector.items():
        if wanted in WORDS if isinstance(wanted, str) else False:
            values = _values(name, known)
            if len(values) < 2 or fact.about.get(name) != values[WORDS[wanted]]:
                return False
        elif fact.about.get(name) not in (wanted if isinstance(wanted, list) else [wanted]):
            return False
    return True


def _mean_of(these: Sequence[Fact]) -> Runs:
    """The mean over facts, for the tasks and seeds that all of them have."""
    if not these:
        return {}
    common = set.intersection(*(set(fact.runs) for fact in these))
    return {place: _average([fact.runs[place] for fact in these]) for place in common}


def _average(values: Sequence[Array]) -> Array:
    """Episode by episode where all have as many, else of their means."""
    same = len({len(value) for value in values}) == 1
    return np.mean(values, axis=0) if same else np.array([np.mean([value.mean() for value in values])])
