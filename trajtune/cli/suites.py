"""trajtune suites"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trajtune.cli.output import Output, mean_of, number

if TYPE_CHECKING:
    from trajtune.suites.base import Suite


@dataclass
class Suites:
    """List suites, their tasks, splits, reference returns, and what each of them can do."""

    suite: str | None = None
    """List the tasks of this suite; gym:ID is one, too."""
    json: bool = False

    def run(self, out: Output) -> None:
        from trajtune.suites import get_suite

        if self.suite is None:
            _list_all(out)
        else:
            _list_tasks(get_suite(self.suite), out)


def _list_all(out: Output) -> None:
    from trajtune.errors import UserError
    from trajtune.suites import MAKERS, SUITES, get_suite

    names, rows, listing = list(SUITES), [], {}
    broken = dict(SUITES.broken)  # known once all names are
    for name in names:
        try:
            s = get_suite(name)
        except UserError as error:  # one that needs an extra, or another package's that is not whole
            broken[name] = str(error)
            continue
        listing[name] = _about(s)
        known = [s.references[t] for t in s.test if t in s.references]
        returns = [number(mean_of([k[kind] for k in known]), 0) for kind in ("random", "expert")]
        counts = f"{len(s.train)}/{len(s.test)}"
        can = "relabel" if s.relabel else ""
        can += (", " if can and s.has_success else "") + ("success" if s.has_success else "")
        dims = f"{s.observation_dim}/{s.action_dim}"
        rows.append([name, s.summary, dims, str(s.longest), counts, can or "-", ", ".join(_experts(s)), *returns])
    out.table(["suite", "what", "obs/act", "steps", "train/test", "can", "experts", "random", "expert"], rows, left=2)
    out.say("can: relabel rewards for any of its tasks, say success; experts: what --experts of collect may be")
    out.say("random, expert: mean reference returns of the test tasks; see --suite NAME for all tasks")
    for name, entry in MAKERS.items():
        out.say(f"{name}:ID is a suite, too: {entry.summary}")
    for name, why in broken.items():
        out.say(f"{name} is left out: {why}")
    out.result(listing)


def _list_tasks(s: "Suite", out: Output) -> None:
    rows = []
    for t in s.tasks:
        known: Mapping[str, float] = s.references.get(t.index, {})
        returns = [number(known.get(kind)) for kind in ("random", "expert")]
        rows.append([str(t.index), t.name, _split(t.index, s.train, s.test), str(s.horizon(t.index)), *returns])
    out.table(["task", "what", "split", "steps", "random", "expert"], rows, title=s.summary, left=3)
    for name, summary in _experts(s).items():
        out.say(f"experts {name}: {summary}")
    out.result({s.name: _about(s)})


def _about(s: "Suite") -> dict[str, Any]:
    """Return everything there is to say of a suite, for scripts."""
    tasks = [
        {
            "task": t.index,
            "name": t.name,
            "split": _split(t.index, s.train, s.test),
            "horizon": s.horizon(t.index),
            **t.parameters,
            "random_return": s.references.get(t.index, {}).get("random"),
            "expert_return": s.references.get(t.index, {}).get("expert"),
        }
        for t in s.tasks
    ]
    return {
        "summary": s.summary,
        "variant_of": s.variant_of,
        "horizon": s.longest,
        "observation_dim": s.observation_dim,
        "action_dim": s.action_dim,
        "metric": s.metric,
        "relabel": s.relabel is not None,
        "success": s.has_success,
        "experts": list(_experts(s)),
        "train": list(s.train),
        "test": list(s.test),
        "tasks": tasks,
    }


def _experts(s: "Suite") -> dict[str, str]:
    from trajtune.experts.sources import sources_of

    return {name: source.summary for name, source in sources_of(s).items()}


def _split(index: int, train: Sequence[int], test: Sequence[int]) -> str:
    return " and ".join(name for name, members in (("train", train), ("test", test)) if index in members)
