"""trajtune pretrain"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trajtune.cli.output import Output


@dataclass
class Pretrain:
    """Pretrain an agent on the training tasks of a dataset. The same command continues where it was stopped."""

    data: Path
    """Folder of a dataset."""
    out: Path
    """Folder of the agent."""
    steps: int = 2000
    batch: int = 64
    layers: int = 3
    width: int = 128
    heads: int = 1
    window: int = 20
    """History length in steps."""
    prompt: int = 5
    """Prompt length in steps."""
    dropout: float = 0.1
    quality: str = "medium"
    """Which trajectories to learn from."""
    tasks: str = "train"
    """all, train, test, or a list such as 0,3,7."""
    learning_rate: float = 3e-4
    seed: int = 0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    device: str = "auto"
    processes: int = 0
    """Processes that train together; 0 is one a CUDA device, or one."""
    json: bool = False

    def run(self, out: Output) -> None:
        import torch

        from trajtune.data import Dataset
        from trajtune.errors import UserError
        from trajtune.suites import get_suite
        from trajtune.training import PretrainConfig, TrainConfig, pretrain
        from trajtune.training.devices import pick_device

        if self.processes < 0:
            raise UserError(f"processes must be at least 1, or 0 for one a CUDA device, got {self.processes}")
        device = pick_device(self.device)
        processes = self.processes or (max(1, torch.cuda.device_count()) if device.type == "cuda" else 1)
        dataset = Dataset.open(self.data)
        suite = get_suite(dataset.suite)
        training = TrainConfig(
            steps=self.steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            warmup=min(500, self.steps // 10),
            schedule="cosine",
            precision=self.precision,
            checkpoint_every=500,
            log_every=50,
            seed=self.seed,
        )
        config = PretrainConfig(
            layers=self.layers,
            width=self.width,
            heads=self.heads,
            window=self.window,
            prompt=self.prompt,
            dropout=self.dropout,
            quality=self.quality,
            training=training,
        )
        available = set(dataset.trajectories.task.tolist())
        tasks = [task for task in suite.select(self.tasks) if task in available]
        if not tasks:
            raise UserError(f"{self.data} has none of the tasks {self.tasks!r}")
        if processes > 1 and "WORLD_SIZE" not in os.environ:
            self._launch(processes, out)
            return

        def on_step(step: int, metrics: dict[str, float]) -> None:
            out.progress("pretraining (steps)", step, self.steps)

        saved = pretrain(
            dataset, tasks, suite.horizon, config, self.out, device=device, processes=processes, on_step=on_step
        )
        out.close()
        if os.environ.get("RANK", "0") != "0":
            return
        log = saved.provenance.get("log", [{}])
        numbers = sum(p.numel() for p in saved.agent.parameters())
        out.say(f"{numbers:,} parameters, {len(tasks)} tasks, action error {log[0]['sft']:.4f} -> {log[-1]['sft']:.4f}")
        out.say(f"the agent is in {self.out}")
        out.result({"out": str(self.out), "parameters": numbers, "tasks": tasks, "log": log})

    def _launch(self, processes: int, out: Output) -> None:
        """Run this same command in a process group, once a process; the first one writes and prints."""
        from trajtune.errors import UserError

        group = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command = [sys.executable, *group, "-m", "trajtune", *sys.argv[1:], "--processes", str(processes)]
        done = subprocess.run(command, check=False)
        if done.returncode:
            raise UserError(f"pretraining with {processes} processes stopped with code {done.returncode}")
