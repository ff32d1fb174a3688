"""trajtune evaluate"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trajtune.cli.output import Output, interval, number
from trajtune.compute.precision import Precision
from trajtune.data.setting import Setting
from trajtune.shipped import shipped
from trajtune.study.cell import Evaluation

if TYPE_CHECKING:
    from trajtune.rollout.score import Score


@dataclass
class Evaluate:
    """Run an agent, or an agent with a delta, in the environment. Episode seeds are fixed: scores can be paired."""

    agent: Path
    """Folder of the pretrained agent."""
    suite: str | None = None
    """The default is the suite the agent was pretrained on."""
    task: str | None = None
    """A number, a list such as 0,3,7 or 4-7, train, test or all. The default: the delta's task, or the test tasks."""
    delta: Path | None = None
    """Folder of a delta that finetuning made."""
    data: Path | None = None
    """Take prompts from this dataset instead of those that the agent or delta carries, as the setting says. Without
    it, of the setting only a target that is a number or the expert's counts."""
    setting: Setting = field(default_factory=Setting)
    episodes: int = Evaluation.episodes
    """Episodes a task."""
    seed: int = Evaluation.seed
    precision: Precision = Evaluation.precision
    device: str = "auto"
    """auto, cpu or cuda."""
    json: bool = False
    """Print one JSON object."""

    def __post_init__(self) -> None:
        self.agent = shipped(str(self.agent))
        self.data = self.data and shipped(str(self.data))

    def run(self, out: Output) -> None:
        from trajtune.artifacts import AGENT, DATASET, DELTA, read_header
        from trajtune.errors import UserError
        from trajtune.seeds import LIMIT
        from trajtune.suites import get_suite

        # What can be wrong is found before torch is imported.
        if not 0 <= self.seed < LIMIT:
            raise UserError(f"seed must be 0 to {LIMIT - 1}, got {self.seed}")
        if self.episodes < 1:
            raise UserError(f"episodes must be at least 1, got {self.episodes}")
        if self.data is None and replace(self.setting, target=Setting.target) != Setting():
            raise UserError("--quality, --trajectories and --reward are of a dataset: give --data")
        for folder, kind in ((self.delta, DELTA), (self.data, DATASET)):
            if folder is not None:
                read_header(folder, kind, verify=False)
        made_for = read_header(self.agent, AGENT, verify=False).get("suite")
        name = self.suite or made_for
        if name is None:
            raise UserError(f"{self.agent} does not say which suite it is of: give --suite")
        suite = get_suite(name)
        if self.data is None and self.delta is None and made_for not in (None, name):
            raise UserError(f"{self.agent} is of suite {made_for}: prompts of {name} must come from --data")

        from trajtune.agents.saving import load_agent
        from trajtune.compute.devices import pick_device
        from trajtune.data.fewshot import few_shot
        from trajtune.data.store import Dataset
        from trajtune.rollout.score import Subject, score
        from trajtune.training.deltas import load_delta
        from trajtune.training.finetune import check_fits

        device, base = pick_device(self.device), load_agent(self.agent)
        setting, bank = self.setting, base.briefs
        subject: Subject = base.agent.to(device)
        if self.delta is not None:
            saved = load_delta(self.delta, base)
            subject, bank = saved.policy.to(device), saved.briefs
            setting = replace(setting, reward=saved.run["data"]["setting"]["reward"])  # what it was trained to ask for
        tasks = suite.select(self.task or ("test" if self.delta is None else ",".join(map(str, bank))))
        if self.data is not None:
            dataset = Dataset.open(self.data)
            if dataset.suite != suite.name:
                raise UserError(f"{self.data} is of suite {dataset.suite}, not {suite.name}")
            suite.check_versions(dataset.metadata.get("versions", {}), self.data)
            sets = [few_shot(dataset, task, setting, self.seed, base.agent.spec.prompt) for task in tasks]
            for few in sets:
                check_fits(base, few)
            bank = {few.task: few.brief for few in sets}
        if missing := [task for task in tasks if task not in bank]:
            raise UserError(f"no prompts of task {missing[0]} in {self.delta or self.agent}: give --data")
        briefs = {task: bank[task] for task in tasks}
        if self.data is None:  # the trajectories that best and mean are of are not at hand
            briefs = {task: brief.asked_for(self.setting.target) for task, brief in briefs.items()}
        scores = score(subject, suite, briefs, self.episodes, self.seed, self.precision, out.progress)
        out.close()
        _show(scores, out)
        mean = sum(s.mean_return for s in scores) / len(scores)
        out.say(f"mean return {mean:.1f} over {len(scores)} tasks, {self.episodes} episodes each")
        out.result({"mean_return": mean, "scores": [s.to_json() for s in scores]})


def _show(scores: "list[Score]", out: Output) -> None:
    said = any(s.success is not None for s in scores)
    columns = ["task", "what", "return", "95% interval", "normalised", "asked for"]
    rows = [
        [str(s.task), s.name, number(s.mean_return), interval(s.interval), number(s.normalised, 3)]
        + [number(s.target_return)]
        + ([number(s.success, 2)] if said else [])
        for s in scores
    ]
    out.table(columns + (["success"] if said else []), rows, left=2)
