"""trajtune collect"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from trajtune.cli.output import Output, mean_of, number
from trajtune.experts.config import CollectConfig
from trajtune.statistics import normalised


@dataclass
class Collect:
    """Record trajectories of experts: shipped, scripted or trained. The same command continues where it was stopped."""

    suite: Positional[str]
    """One of those that ``trajtune suites`` lists, or gym:ID for an environment of Gymnasium."""
    out: Path
    """Folder of the dataset."""
    experts: str | None = CollectConfig.experts
    """scripted (the suite's script), shipped (trained actors of trajtune's own), goal-conditioned (train one SAC for
    all tasks), per-task (train one SAC a task), random (no expert). The first that the suite has is the default."""
    quality: str = ",".join(CollectConfig.qualities)
    """Which qualities to record: expert, medium, random."""
    tasks: str = "all"
    """all, train, test, or a list such as 0,3,7 or 4-7."""
    trajectories: int = CollectConfig.trajectories
    """Trajectories a task and quality."""
    composition: Literal["checkpoints", "replay"] = "checkpoints"  # CollectConfig.composition
    """Of checkpoints of the experts, or (per-task) of all they did as they learned: its first half is medium."""
    updates: int = CollectConfig.updates
    """Gradient steps of each SAC expert that is trained; 0 is the suite's own number."""
    seed: int = CollectConfig.seed
    workers: int = 0
    """Processes that record; 0 is one a core. The data do not depend on it."""
    dtype: Literal["float32", "float16"] = "float32"  # CollectConfig.dtype
    """How observations and actions are stored."""
    json: bool = False

    def run(self, out: Output) -> None:
        from trajtune.experts.collect import collect
        from trajtune.experts.ladder import MEDIUM
        from trajtune.processes import count_workers
        from trajtune.suites import get_suite

        workers = count_workers(self.workers)
        config = CollectConfig(
            suite=self.suite,
            tasks=tuple(get_suite(self.suite).select(self.tasks)),
            qualities=tuple(self.quality.split(",")),
            trajectories=self.trajectories,
            experts=self.experts,
            composition=self.composition,
            updates=self.updates,
            seed=self.seed,
            dtype=self.dtype,
        )
        data = collect(config, self.out, workers, out.progress)
        out.close()
        rows, summary = [], {}
        for quality in config.qualities:
            sources = [data.metadata["sources"][str(task)][quality] for task in config.tasks]
            means = [source["mean_return"] for source in sources]
            pairs = zip(means, map(data.references, config.tasks), strict=True)
            levels = [level for mean, known in pairs if (level := normalised(mean, known)) is not None]
            success = mean_of([source["success"] for source in sources if "success" in source])
            mean, level = sum(means) / len(means), mean_of(levels)
            ends = [number(end(levels, default=None), 2) for end in (min, max)]
            row = [quality, number(mean), number(min(means)), number(max(means)), number(level, 2), *ends]
            rows.append([*row, number(success, 2)])
            summary[quality] = {"mean_return": mean, "mean_normalised": level, "normalised": levels, "success": success}
        columns = ["quality", "mean return", "lowest task", "highest", "normalised", "lowest", "highest", "success"]
        out.table(columns, rows)
        off = [x for x in summary.get("medium", {}).get("normalised", []) if not MEDIUM[0] <= x <= MEDIUM[1]]
        if off and self.composition == CollectConfig.composition:
            out.say(f"warning: medium lies outside [1/3, 1/2] on {len(off)} tasks; no policy inside was found")
        out.say(f"{len(data.trajectories)} trajectories of {len(config.tasks)} tasks are in {self.out}")
        out.result({"out": str(self.out), "trajectories": len(data.trajectories), "qualities": summary})
