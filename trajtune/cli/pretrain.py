"""trajtune pretrain"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from trajtune.cli.fields import Pairs, PretrainFields, with_defaults
from trajtune.cli.output import Output
from trajtune.shipped import shipped


@dataclass
class Pretrain:
    """Pretrain an agent on the training tasks of a dataset. The same command continues where it was stopped."""

    data: Path
    """Folder of a dataset."""
    out: Path
    """Folder of the agent."""
    tasks: str = "train"
    """all, train, test, or a list such as 0,3,7 or 4-7."""
    config: PretrainFields = field(default_factory=PretrainFields)
    set: Pairs = field(default_factory=list)
    """A size of the agent, such as layers=6."""
    device: str = "auto"
    """auto, cpu or cuda."""
    processes: int = 0
    """Processes that train together; 0 is one a CUDA device, or one."""
    json: bool = False
    """Print one JSON object."""

    def __post_init__(self) -> None:
        self.data = shipped(str(self.data))

    @staticmethod
    def choices() -> Mapping[str, Mapping[str, str]]:
        from trajtune.agents import AGENTS, agent_options

        agents = {name: with_defaults(entry.summary, agent_options(name)) for name, entry in AGENTS.items()}
        return {"agents, and what --set takes": agents}

    def run(self, out: Output) -> None:
        from trajtune.artifacts import DATASET, read_header
        from trajtune.configs import parse_options
        from trajtune.errors import UserError
        from trajtune.suites import get_suite

        if self.processes < 0:
            raise UserError(f"processes must be at least 1, or 0 for one a CUDA device, got {self.processes}")
        config = replace(self.config, options=parse_options(self.set))
        header = read_header(self.data, DATASET, verify=False)
        suite = get_suite(header["suite"])
        suite.check_versions(header.get("versions", {}), self.data)
        tasks = suite.select(self.tasks)

        import torch

        from trajtune.compute.devices import pick_device
        from trajtune.data.store import Dataset
        from trajtune.training.pretrain import pretrain

        device = pick_device(self.device)
        processes = self.processes or (max(1, torch.cuda.device_count()) if device.type == "cuda" else 1)
        if processes > 1 and "WORLD_SIZE" not in os.environ:
            from trajtune.cli.together import run_together

            run_together(processes)
            return
        dataset = Dataset.open(self.data)
        available = set(dataset.trajectories.task.tolist())
        tasks = [task for task in tasks if task in available]
        if not tasks:
            raise UserError(f"{self.data} has none of the tasks {self.tasks!r}")
        saved = pretrain(
            dataset, tasks, suite.longest, config, self.out, device=device, processes=processes, progress=out.progress
        )
        out.close()
        if os.environ.get("RANK", "0") != "0":
            return
        log, numbers = saved.header["log"], sum(p.numel() for p in saved.agent.parameters())
        first, last = smoothed([entry["loss"] for entry in log])
        out.say(f"{numbers:,} parameters, {len(tasks)} tasks")
        out.say(verdict(len(log), first, last))
        out.say(f"the agent is in {self.out}")
        errors = {"first": first, "last": last}
        out.result({"out": str(self.out), "parameters": numbers, "tasks": tasks, "action_error": errors, "log": log})


def smoothed(values: Sequence[float]) -> tuple[float, float]:
    """Return the means of the first and last few values, a fifth of them each: one batch says little."""
    few = max(1, len(values) // 5)
    return sum(values[:few]) / few, sum(values[-few:]) / few


def verdict(entries: int, first: float, last: float) -> str:
    """Say whether it has learned."""
    if entries == 1:
        return f"action error {first:.4f}, logged once: nothing is known of its course (--log-every)"
    fell = "" if last < first else ": it did not fall; more updates (--steps) or a larger --learning-rate may help"
    return f"action error {first:.4f} -> {last:.4f}, means of the first and last entries of the log{fell}"
