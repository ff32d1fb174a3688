"""trajtune studies"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

from trajtune.cli.output import Output, duration
from trajtune.errors import UserError, unknown
from trajtune.shipped import ASSET

if TYPE_CHECKING:
    from trajtune.study.declaration import Study as Declared


@dataclass
class Studies:
    """List the studies that come with trajtune, how many runs each has and what it takes; or copy one to change it."""

    action: Positional[Literal["list", "copy"]] = "list"
    """What to do."""
    name: Annotated[Positional[str], arg(metavar="NAME")] = ""
    """Which one to copy."""
    out: Path | None = None
    """File of the copy; NAME.yaml unless it is said."""
    measure: bool = False
    """Measure what each algorithm takes here under each tuning, and say how long each study takes by that."""
    workers: int = 0
    """Processes of one thread each that times are for; 0 is one a core."""
    json: bool = False
    """Print one JSON object."""

    def run(self, out: Output) -> None:
        if self.action == "copy":
            _copy(self.name, self.out, out)
        elif self.name:
            raise UserError(f"{self.name!r} is one argument too many: did you mean trajtune studies copy {self.name}?")
        else:
            _list(self.measure, self.workers, out)


def _copy(name: str, path: Path | None, out: Output) -> None:
    from trajtune.files import write_text
    from trajtune.shipped import preset, presets

    if name not in presets():
        raise unknown("study", name, presets())
    path = path or Path(f"{name}.yaml")
    if path.exists():
        raise UserError(f"{path} is there already: choose another file with --out")
    write_text(path, preset(name).read_text())
    out.say(f"{path} is a copy of {name}: change it and run it with trajtune study {path} --out runs/{path.stem}")
    out.result({"name": name, "out": str(path)})


def _ships(study: "Declared") -> bool:
    """Whether its agents are those that times are measured with, or as large."""
    return all(source.agent is None or str(source.agent).startswith(ASSET) for source in study.suites.values())


def _list(measure: bool, workers: int, out: Output) -> None:
    from trajtune.processes import count_workers
    from trajtune.shipped import presets
    from trajtune.study.budgets import BUDGETS, within
    from trajtune.study.planning import measured, seconds_of
    from trajtune.study.reading import load_study

    workers = count_workers(workers)
    studies = {name: load_study(name) for name in presets()}
    costs = measured(list(studies.values()), workers, out.progress) if measure else None
    out.close()
    rows, told = [], []
    for name, summary in presets().items():
        row, each = [name, summary], dict[str, Any]()
        for budget in BUDGETS:
            study = within(studies[name], budget)
            runs = sum(1 for _ in study.runs())
            seconds = None if costs is None or not _ships(study) else seconds_of(study, costs) / workers
            each[budget] = {"runs": runs, "seconds": seconds}
            row.append(f"{runs}" + ("" if seconds is None else f" ({duration(seconds)})"))
        rows.append(row)
        told.append({"name": name, "summary": summary, "budgets": each})
    title = "runs by --budget" if costs is None else f"runs by --budget, and what they take here with {workers} workers"
    out.table(["study", "what it is", *BUDGETS], rows, title, left=2)
    more = "" if costs else "; studies --measure says how long they take here"
    out.say(f"trajtune study NAME --out FOLDER runs one, with --plan it says how long that takes{more}")
    if costs is not None:
        out.say("No time: of agents that do not ship, and may be of any size.")
    out.result({"studies": told})
