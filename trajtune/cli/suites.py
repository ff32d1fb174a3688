"""trajtune suites"""

from dataclasses import dataclass

from trajtune.cli.output import Output, number


@dataclass
class Suites:
    """List suites, variants, tasks, splits and reference returns."""

    suite: str | None = None
    """List the tasks of this suite."""
    json: bool = False

    def run(self, out: Output) -> None:
        from trajtune.suites import SUITES, get_suite, references

        chosen = [get_suite(name) for name in (SUITES if self.suite is None else [self.suite])]
        rows, listing = [], {}
        for s in chosen:
            known = references(s.name)
            tasks = [
                {
                    "task": t.index,
                    "name": t.name,
                    "split": _split(t.index, s.train, s.test),
                    **t.parameters,
                    "random_return": known.get(t.index, {}).get("random"),
                    "expert_return": known.get(t.index, {}).get("expert"),
                }
                for t in s.tasks
            ]
            head = {"summary": s.summary, "variant_of": s.variant_of, "horizon": s.horizon}
            dims = {"observation_dim": s.observation_dim, "action_dim": s.action_dim, "success": s.has_success}
            listing[s.name] = {**head, **dims, "train": list(s.train), "test": list(s.test), "tasks": tasks}
            if self.suite is None:
                test = ", ".join(map(str, s.test))
                known_returns = [k for t in s.test if (k := known.get(t))]
                low = number(_mean([k["random"] for k in known_returns]), 0)
                high = number(_mean([k["expert"] for k in known_returns]), 0)
                dimensions = f"{s.observation_dim}/{s.action_dim}"
                counts = f"{len(s.train)}/{len(s.test)}"
                rows.append([s.name, s.summary, dimensions, str(s.horizon), counts, test, low, high])
            else:
                for t in s.tasks:
                    low, high = (number(known.get(t.index, {}).get(kind)) for kind in ("random", "expert"))
                    rows.append([str(t.index), t.name, _split(t.index, s.train, s.test), low, high])
        if self.suite is None:
            columns = ["suite", "what", "obs/act", "steps", "train/test", "test tasks", "random", "expert"]
            out.table(columns, rows, left=2)
            out.say("random, expert: mean reference returns of the test tasks; see --suite NAME for all tasks")
        else:
            out.table(["task", "what", "split", "random", "expert"], rows, title=chosen[0].summary, left=3)
        out.result(listing)


def _split(index: int, train: tuple[int, ...], test: tuple[int, ...]) -> str:
    return " and ".join(name for name, members in (("train", train), ("test", test)) if index in members)


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
