"""trajtune collect"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from trajtune.cli.output import Output, number


@dataclass
class Collect:
    """Train experts and record trajectories. The same command continues where it was stopped."""

    suite: Positional[str]
    """One of those that ``trajtune suites`` lists."""
    out: Path
    """Folder of the dataset."""
    experts: Literal["goal-conditioned", "per-task", "scripted"] | None = None
    """One SAC for all tasks, one SAC a task, or the suite's script (the default where there is one)."""
    quality: str = "expert,medium"
    """Which qualities to record."""
    tasks: str = "all"
    """all, train, test, or a list such as 0,3,7."""
    trajectories: int = 100
    """Trajectories a task and quality."""
    updates: int = 0
    """Gradient steps of each SAC expert; 0 is the suite's own number."""
    seed: int = 0
    workers: int = 0
    """Processes that record; 0 is one a core. The data do not depend on it."""
    dtype: Literal["float32", "float16"] = "float32"
    """How observations and actions are stored."""
    json: bool = False

    def run(self, out: Output) -> None:
        from trajtune.experts.collect import CollectConfig, collect
        from trajtune.processes import count_workers
        from trajtune.suites import get_suite

        workers = count_workers(self.workers)
        suite = get_suite(self.suite)
        config = CollectConfig(
            suite=self.suite,
            tasks=tuple(suite.select(self.tasks)),
            qualities=tuple(self.quality.split(",")),
            trajectories=self.trajectories,
            experts=self.experts or ("scripted" if suite.scripted else "goal-conditioned"),
            updates=self.updates,
            seed=self.seed,
            dtype=self.dtype,
        )
        data = collect(config, self.out, workers, out.progress)
        out.close()
        rows, summary = [], {}
        for quality in config.qualities:
            means, levels = [], []
            for task in config.tasks:
                reference = data.references(task)
                mean = data.metadata["sources"][str(task)][quality]["mean_return"]
                means.append(mean)
                levels.append((mean - reference["random"]) / (reference["expert"] - reference["random"]))
            mean, level = sum(means) / len(means), sum(levels) / len(levels)
            low, high = f"{min(levels):.2f}", f"{max(levels):.2f}"
            rows.append([quality, number(mean), number(min(means)), number(max(means)), f"{level:.2f}", low, high])
            summary[quality] = {"mean_return": mean, "mean_normalised": level, "normalised": levels}
        out.table(["quality", "mean return", "lowest task", "highest", "normalised", "lowest", "highest"], rows)
        if "medium" in summary and (off := [x for x in summary["medium"]["normalised"] if not 1 / 3 <= x <= 1 / 2]):
            out.say(f"warning: medium lies outside [1/3, 1/2] on {len(off)} tasks; no policy inside was found")
        out.say(f"{len(data.trajectories)} trajectories of {len(config.tasks)} tasks are in {self.out}")
        out.result({"out": str(self.out), "trajectories": len(data.trajectories), "qualities": summary})
