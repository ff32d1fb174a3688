"""trajtune demo"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trajtune.cli.output import Output, interval, number


@dataclass
class Demo:
    """Finetune a pretrained agent on held-out tasks with SFT and QP-SFT, and show what came of it."""

    quality: Literal["expert", "medium"] = "expert"
    """Which recorded trajectories to learn from."""
    trajectories: int = 50
    """How many of them a task."""
    tuning: str = "full"
    learning_rate: float = 3e-4
    """What the agent was pretrained with. Adapters want more, such as 1e-3."""
    full: bool = False
    """All five tasks and the whole budget: 300 updates of 64 windows, 50 episodes."""
    seed: int = 0
    out: Path = Path("runs/demo")
    """Where the picture and the numbers go."""
    json: bool = False

    def run(self, out: Output) -> None:
        from trajtune.demo import ALGORITHMS, SUITE, ZERO_SHOT, DemoConfig, run_demo, save
        from trajtune.suites import get_suite

        start = time.monotonic()
        suite = get_suite(SUITE)
        budget = {"steps": 300, "batch": 64, "episodes": 50, "curve_points": 6} if self.full else {}
        config = DemoConfig(
            suite.test if self.full else suite.test[:4],
            self.quality,
            self.trajectories,
            self.tuning,
            learning_rate=self.learning_rate,
            seed=self.seed,
            **budget,
        )
        out.say(
            f"A {SUITE} agent, pretrained on {len(suite.train)} velocities, meets {len(config.tasks)} it has never "
            f"seen, with {config.trajectories} {config.quality} trajectories of each."
        )
        out.say(
            f"{' and '.join(ALGORITHMS)} x {config.tuning}: {config.steps} updates of {config.batch} windows; "
            f"then {config.episodes} episodes a task in MuJoCo, the same seeds for all."
        )
        result = run_demo(config, os.cpu_count() or 1, out.progress)
        picture = save(result, self.out)
        out.close()
        names = (ZERO_SHOT, *ALGORITHMS)
        rows = []
        for task in result["tasks"]:
            row = [task["name"], number(task["references"]["random"]), number(task["references"]["expert"])]
            row.append(number(task["few_shot_return"]))
            for name in names:
                score = task["scores"][name]
                row.append(f"{score['mean_return']:.1f} ({score['normalised']:.2f})")
            rows.append(row)
        summary = result["summary"]
        means = [f"{summary['mean_return'][n]:.1f} ({summary['normalised'][n]:.2f})" for n in names]
        rows.append(["mean", "", "", "", *means])
        out.table(["task", "random", "expert", "data", *names], rows, "Return (normalised: 0 random, 1 expert)")
        differences = [
            [name, number(entry["mean"], 3), interval(entry["interval"], 3)]
            for name, entry in summary["differences"].items()
        ]
        out.table(["paired difference", "normalised", "95% interval"], differences)
        out.say(f"picture: {picture}   numbers: {self.out / 'demo.json'}   ({time.monotonic() - start:.0f} s)")
        out.result(result)
