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

from trajtune.configs import structured
from trajtune.report.contrasts import WORDS, Term, alike, contrast, listed, values
from trajtune.report.facts import Fact, facts
from trajtune.report.index import Place
from trajtune.report.table import Block, Row, Table
from trajtune.report.uncertainty import CONFIDENCE, Estimate, Runs, holm, mean_of, seeds_to_decide

Verdict = Literal["supported", "contradicted", "not decided", "no results"]


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
        for each in self.contrasts:
            e = each.estimate
            interval = "" if e.interval is None else f" [{e.interval[0]:+.3f}, {e.interval[1]:+.3f}]"
            said.append(f"{each.of}: {e.mean:+.3f}{interval}" if each.of else f"{e.mean:+.3f}{interval}")
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
        for each in listed(value)
        if each not in WORDS
    }
    return tuple(sorted(str(value) for name, value in named if all(f.about.get(name) != value for f in known)))


def _more_seeds(contrasts: Sequence[Contrast], p: Sequence[float | None]) -> int | None:
    """Seeds that all contrasts need which are not told apart."""
    open_ones = [c for c, q in zip(contrasts, p, strict=True) if q is None or q > 1 - CONFIDENCE]
    needed = [seeds_to_decide(list(each.runs.values()), len(contrasts)) for each in open_ones]
    return None if None in needed else max((n for n in needed if n is not None), default=None)


def _tests(claim: Claim, known: Sequence[Fact]) -> Iterable[tuple[str, list[Term]]]:
    """Every test of a claim: its name, and the terms of the sum."""
    terms: list[Term] = list(claim.terms)
    named: dict[str, list[Term]] = {"": terms}
    if claim.each:
        wanted = _wanted(terms, claim.each) or values(claim.each, known)
        named = {str(value): _narrowed(terms or [(1.0, {})], claim.each, value) for value in wanted}
    for name, own in named.items():
        if not claim.steps:
            yield name, own
            continue
        for suites, there in alike(claim.steps, known).items():
            for low, high in itertools.pairwise(there):
                step = f"{name}, {low:g} to {high:g}".removeprefix(", ")
                yield (
                    step if len(suites) == len({fact.suite for fact in known}) else f"{step}, {', '.join(suites)}",
                    [
                        (w * sign, {**s, claim.steps: v, "suite": list(suites)})
                        for sign, v in ((1, high), (-1, low))
                        for w, s in own
                    ],
                )


def _wanted(terms: Sequence[Term], of: str) -> list[Any]:
    """The values that the first term names; all there are, where it names none."""
    value = terms[0][1].get(of) if terms else None
    return value if isinstance(value, list) else [] if value is None else [value]


def _narrowed(terms: Sequence[Term], of: str, value: Any) -> list[Term]:
    """The same terms for one value; a term that speaks of another one, such as zero-shot, stays."""
    return [(w, {**s, of: value}) if isinstance(s.get(of), list) or of not in s else (w, s) for w, s in terms]
