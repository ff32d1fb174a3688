"""trajtune study"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from trajtune.cli.fields import Pairs, with_defaults
from trajtune.cli.output import Output, duration, interval, number
from trajtune.errors import UserError
from trajtune.loggers import LOGGERS
from trajtune.processes import count_workers
from trajtune.study.budgets import BUDGETS, PAPER, Budget, within
from trajtune.study.declaration import Study as Declared
from trajtune.study.runners import LOCAL, RUNNERS, run_study

WORKERS = (10, 100)
"""For how many workers a plan says how long it takes, beside those that were asked for."""


@dataclass
class Study:
    """Run the cells that a YAML file declares and show the table. The same command continues where it was stopped."""

    file: Annotated[Positional[str], arg(metavar="STUDY")]
    """A YAML file, such as studies/confirmation.yaml, or the name of a study that comes with trajtune, such as first.
    Paths in a file are relative to the working directory."""
    out: Path | None = None
    """Folder of the results: one small file a cell and task."""
    budget: str = PAPER
    """How much of it: smoke, small, night, or paper, which is all that it declares."""
    plan: bool = False
    """Only say how many runs there are and how long they will take here: one of each kind is measured."""
    workers: int = 0
    """Processes of one thread each; 0 is one a core, or what suits the runner. The results do not depend on it."""
    on: str = LOCAL
    """Where the runs are done: local, ray or slurm."""
    set_runner: Pairs = field(default_factory=list)
    """An option of the runner, such as partition=gpu."""
    log: Annotated[UseAppendAction[list[str]], arg(metavar="LOGGER")] = field(default_factory=list)
    """Give every curve to a logger as well, such as tensorboard; may be given several times."""
    json: bool = False
    """Print one JSON object."""

    @staticmethod
    def choices() -> Mapping[str, Mapping[str, str]]:
        from trajtune.shipped import presets

        runners = {n: with_defaults(e.summary, asdict(e.config())) for n, e in RUNNERS.items()}
        budgets = {name: all_of(budget) for name, budget in BUDGETS.items()}
        return {
            "studies that come with trajtune": presets(),
            "budgets": budgets,
            "runners, and what --set-runner takes": runners,
            "loggers": {name: entry.summary for name, entry in LOGGERS.items()},
        }

    def run(self, out: Output) -> None:
        from trajtune.cli.report import failures, show
        from trajtune.configs import parse_options
        from trajtune.report.writing import given_in
        from trajtune.study.reading import load_study

        workers = count_workers(self.workers) if RUNNERS[self.on].here else self.workers
        study = within(load_study(self.file), self.budget)
        if self.plan:
            _show_plan(study, self.out, workers, out)
            return
        if self.out is None:
            raise UserError("missing: --out (see trajtune study --help)")
        run_study(study, self.out, workers, out.progress, self.on, parse_options(self.set_runner), self.log)
        out.close()
        for line in _choices(self.out):
            out.say(line)
        given = given_in(self.out)
        show(given.comparisons, out)
        for line in failures(given):
            out.say(line)
        out.result({"out": str(self.out), "comparisons": [asdict(each) for each in given.comparisons]})


def all_of(budget: Budget | None) -> str:
    """Return a budget in words."""
    if budget is None:
        return "all that the study declares"
    most = ", ".join(f"{name} {value}" for name, value in asdict(budget).items() if name != "summary")
    return f"{budget.summary}: at most {most}"


def _choices(folder: Path) -> list[str]:
    """Return a line for every method whose options were chosen."""
    from trajtune.study.choosing import arms_of

    said = []
    for arm in arms_of(folder):
        values = ", ".join(f"{name}={json.dumps(value)}" for name, value in (arm["values"] or {}).items())
        score = f"{values}: {arm['score']:.3f} {interval(arm['interval'], 3)}" if values else "nothing: all diverged"
        tried = f"of {len(arm['trials'])} trials on held-out training tasks"
        said.append(f"chosen for {arm['algorithm']} x {arm['tuning']}: {score}, {tried}")
    return said


def _show_plan(study: Declared, folder: Path | None, workers: int, out: Output) -> None:
    from trajtune.study.planning import plan

    found = plan(study, folder, count_workers(0), out.progress)
    out.close()
    rows = [
        [f"{k.algorithm} x {k.tuning}" + (f" ({k.label})" if k.label else ""), k.group, str(k.runs), number(k.seconds)]
        for k in found.kinds
    ]
    out.table(["runs", "suite", "to do", "seconds each"], rows, left=2)
    ways = {count: found.wall(count) for count in dict.fromkeys([1, workers or 1, *WORKERS])}
    times = ", ".join(f"{duration(seconds)} with {count}" for count, seconds in ways.items())
    out.say(f"{found.runs} runs, {found.done} done; the rest takes about {times} workers of one thread like this one")
    out.result({**asdict(found), "seconds": {str(count): seconds for count, seconds in ways.items()}})
