"""trajtune finetune"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

from tyro.conf import UseAppendAction, arg

from trajtune.cli.fields import Pairs, RecipeFields, with_defaults
from trajtune.cli.output import Output, number
from trajtune.data.setting import Setting
from trajtune.loggers import LOGGERS, open_logger
from trajtune.shipped import shipped


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
    recipe: RecipeFields = field(default_factory=RecipeFields)
    setting: Setting = field(default_factory=Setting)
    set: Pairs = field(default_factory=list)
    """An option of the algorithm, such as alpha=0.5."""
    set_tuning: Pairs = field(default_factory=list)
    """An option of the tuning, such as method=IA3."""
    device: str = "auto"
    """auto, cpu or cuda."""
    log: Annotated[UseAppendAction[list[str]], arg(metavar="LOGGER")] = field(default_factory=list)
    """Give what training logs to a logger as well, such as tensorboard; may be given several times."""
    json: bool = False
    """Print one JSON object."""

    def __post_init__(self) -> None:
        self.agent = shipped(str(self.agent))
        self.data = shipped(str(self.data))

    @staticmethod
    def choices() -> Mapping[str, Mapping[str, str]]:
        from trajtune.algorithms import ALGORITHMS, algorithm_options
        from trajtune.tunings import TUNINGS, tuning_config

        algorithms = {n: with_defaults(e.summary, algorithm_options(n)) for n, e in ALGORITHMS.items()}
        tunings = {n: with_defaults(e.summary, asdict(tuning_config(n))) for n, e in TUNINGS.items()}
        return {
            "algorithms, and what --set takes": algorithms,
            "tunings, and what --set-tuning takes": tunings,
            "loggers": {name: entry.summary for name, entry in LOGGERS.items()},
        }

    def run(self, out: Output) -> None:
        from trajtune.artifacts import AGENT, DATASET, read_header
        from trajtune.configs import parse_options

        options, tuning_options = parse_options(self.set), parse_options(self.set_tuning)
        recipe = replace(self.recipe, options=options, tuning_options=tuning_options).resolved()
        read_header(self.agent, AGENT, verify=False)  # what can be wrong is found before anything slow is imported
        read_header(self.data, DATASET, verify=False)

        from trajtune.agents.saving import load_agent
        from trajtune.compute.devices import pick_device
        from trajtune.data.fewshot import few_shot
        from trajtune.data.store import Dataset
        from trajtune.training.finetune import finetune
        from trajtune.tunings.making import size_text

        device, base = pick_device(self.device), load_agent(self.agent)
        few = few_shot(Dataset.open(self.data), self.task, self.setting, recipe.training.seed, base.agent.spec.prompt)
        place = self.out.with_name(f"{self.out.name}-logs")
        with ExitStack() as opened:
            loggers = [open_logger(name, place, self.out.name, recipe.to_json()) for name in self.log]
            for logger in loggers:
                opened.callback(logger.close)

            def progress(stage: str, step: int, total: int, metrics: Mapping[str, float] = {}, /) -> None:
                out.progress(stage, step, total, metrics)
                for logger in loggers if metrics else ():
                    logger.log(step, metrics)

            done = finetune(base, few, recipe, folder=self.out, device=device, progress=progress)
        out.close()
        moved = sum(tensor.numel() for tensor in done.policy.delta().values())
        first, last = done.log[0], done.log[-1]
        rows = [[name, number(first.get(name), 4), number(last[name], 4)] for name in last if name != "step"]
        out.table(["metric", f"step {first['step']}", f"step {last['step']}"], rows)
        rows = [[name, number(value, 3)] for name, value in done.facts.items()]
        if rows:
            out.table(["measured of the data", ""], rows)
        for note in done.notes:
            out.say(note)
        out.say(f"{moved:,} numbers moved ({size_text(moved)}); the delta is in {self.out}")
        told = {"facts": dict(done.facts), "notes": list(done.notes)}
        out.result({"out": str(self.out), "numbers": moved, "log": done.log, **told})
