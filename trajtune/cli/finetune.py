"""trajtune finetune"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tyro.conf import UseAppendAction

from trajtune.cli.output import Output, number


@dataclass
class Finetune:
    """Finetune an agent on a few trajectories of one task. The same command continues where it was stopped."""

    agent: Path
    """Folder of the pretrained agent."""
    data: Path
    """Folder of a dataset."""
    task: int
    """Number of the task."""
    out: Path
    """Folder of the delta: only what moved is saved."""
    algorithm: str = "qp-sft"
    tuning: str = "adapter"
    quality: str = "medium"
    """Which trajectories to learn from."""
    trajectories: int = 50
    """How many of them."""
    reward: Literal["dense", "sparse"] = "dense"
    """Sparse: the return arrives at a trajectory's last step. Scores use the real reward either way."""
    steps: int = 300
    batch: int = 64
    learning_rate: float | None = None
    """The default is the tuning's own."""
    std: float = 0.2
    """Deviation of the action distribution, which log-probabilities are of; SFT and CQL do not use it."""
    set: UseAppendAction[list[str]] = field(default_factory=list)
    """Options of the algorithm, such as alpha=0.5."""
    set_tuning: UseAppendAction[list[str]] = field(default_factory=list)
    """Options of the tuning, such as method=IA3."""
    seed: int = 0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    device: str = "auto"
    json: bool = False

    def run(self, out: Output) -> None:
        from trajtune.agents import load_agent
        from trajtune.configs import parse_options
        from trajtune.data import Dataset
        from trajtune.policy import Policy
        from trajtune.training import TrainConfig, few_shot, finetune
        from trajtune.training.devices import pick_device
        from trajtune.tunings.sizes import as_text

        training = TrainConfig(
            steps=self.steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            precision=self.precision,
            seed=self.seed,
        )
        base = load_agent(self.agent)
        dataset = Dataset.open(self.data)
        length = base.agent.config.prompt
        data = few_shot(dataset, self.task, self.quality, self.trajectories, self.seed, length, self.reward)

        def on_step(step: int, policy: Policy, metrics: dict[str, float]) -> None:
            out.progress(f"{self.algorithm} x {self.tuning} (steps)", step, self.steps)

        done = finetune(
            base,
            data,
            self.algorithm,
            self.tuning,
            training,
            algorithm_options=parse_options(self.set),
            tuning_options=parse_options(self.set_tuning),
            std=self.std,
            folder=self.out,
            device=pick_device(self.device),
            on_step=on_step,
        )
        out.close()
        moved = sum(tensor.numel() for tensor in done.policy.delta().values())
        first, last = done.log[0], done.log[-1]
        rows = [[name, number(first.get(name), 4), number(last[name], 4)] for name in last if name != "step"]
        out.table(["metric", f"step {first['step']}", f"step {last['step']}"], rows)
        out.say(f"{moved:,} numbers moved ({as_text(moved)}); the delta is in {self.out}")
        out.result({"out": str(self.out), "numbers": moved, "log": done.log})
