"""trajtune demo"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trajtune.cli.output import Output, interval, number
from trajtune.demo.config import ALGORITHMS, BUDGETS, NAMES, SUITE, BudgetName, DemoConfig


@dataclass
class Demo:
    """Finetune a pretrained agent on held-out tasks, by imitation and by the default recipe, and show the scores."""

    config: DemoConfig = field(default_factory=DemoConfig)
    budget: BudgetName = "auto"
    """How much to do; auto is the largest but full that fits into about two minutes here."""
    out: Path | None = None
    """Where the picture and the numbers go; the default is a folder below runs/demo."""
    workers: int = 0
    """Processes of one thread each; 0 is one a core."""
    json: bool = False
    """Print one JSON object."""

    @staticmethod
    def choices() -> Mapping[str, Mapping[str, str]]:
        sizes = {name: ", ".join(f"{key} {value}" for key, value in asdict(b).items()) for name, b in BUDGETS.items()}
        return {"budgets": sizes}

    def run(self, out: Output) -> None:
        from trajtune.processes import count_workers

        workers = count_workers(self.workers)
        self.config.check()

        from trajtune.demo.running import run_demo

        c = self.config
        out.say(f"A {SUITE} agent meets tasks new to it, with {c.trajectories} {c.quality} trajectories of each.")
        result = run_demo(c, self.budget, self.out, workers, out.progress, out.say)
        out.close()
        _show(result, out)
        out.say(f"numbers and picture: {result['folder']}")
        out.result(result)


def _show(result: dict[str, Any], out: Output) -> None:
    rows = []
    for task in result["tasks"]:
        row = [task["name"], number(task["references"]["random"]), number(task["references"]["expert"])]
        scores = [task["scores"][name] for name in NAMES]
        found = [f"{score['mean_return']:.1f} ({score['normalised']:.2f})" for score in scores]
        rows.append([*row, number(task["few_shot_return"]), *found])
    summary = result["summary"]
    means = [f"{summary['mean_return'][n]:.1f} ({summary['normalised'][n]:.2f})" for n in NAMES]
    rows.append(["mean", "", "", "", *means])
    out.table(["task", "random", "expert", "data", *NAMES], rows, "Return (normalised: 0 random, 1 expert)")
    entries = summary["differences"].items()
    differences = [[name, number(entry["mean"], 3), interval(entry["interval"], 3)] for name, entry in entries]
    out.table(["paired difference", "normalised", "95%, over episodes"], differences)
    for name in ALGORITHMS:
        trusts = [task["scores"][name]["curve"][-1]["metrics"].get("trust") for task in result["tasks"]]
        if None not in trusts:
            mean = sum(trusts) / len(trusts)
            out.say(f"{name} trusts its critic by {mean:.2f} here, from 0 (it has none, and is sft) to 1.")
