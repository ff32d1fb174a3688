"""trajtune evaluate"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trajtune.cli.output import Output, interval, number

if TYPE_CHECKING:
    from trajtune.agents import AgentConfig
    from trajtune.types import Prompt


@dataclass
class Evaluate:
    """Run an agent, or an agent with a delta, in the environment. Episode seeds are fixed: scores can be paired."""

    agent: Path
    """Folder of the pretrained agent."""
    suite: str | None = None
    """The default is the suite the agent was pretrained on."""
    task: str | None = None
    """A number, a list such as 0,3,7, or train, test, all. The default is the delta's task, or the test tasks."""
    delta: Path | None = None
    """Folder of a delta that finetuning made."""
    data: Path | None = None
    """Take prompts from this dataset instead of those that the agent or delta carries."""
    quality: str = "medium"
    """Which trajectories of ``--data`` to take prompts from."""
    trajectories: int = 50
    """How many of them."""
    episodes: int = 50
    """Episodes a task."""
    seed: int = 0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    device: str = "auto"
    json: bool = False

    def run(self, out: Output) -> None:
        from trajtune.agents import load_agent
        from trajtune.data import Dataset, load_prompts
        from trajtune.errors import UserError
        from trajtune.policy import Plain
        from trajtune.rollout import evaluate_plain
        from trajtune.suites import get_suite
        from trajtune.training import few_shot
        from trajtune.training.devices import pick_device
        from trajtune.tunings.saving import load_delta

        if not 0 <= self.seed < 2**32:
            raise UserError(f"seed must be 0 to {2**32 - 1}, got {self.seed}")
        base = load_agent(self.agent)
        name = self.suite or base.provenance.get("suite")
        if name is None:
            raise UserError(f"{self.agent} does not say which suite it is of: give --suite")
        suite = get_suite(str(name))
        plain, bank, reward = Plain(base.agent), {}, "dense"
        if self.delta is not None:
            saved = load_delta(self.delta, base)
            plain, bank = saved.policy.plain(), saved.prompts
            reward = str(saved.metadata.get("reward", reward))  # what it was trained to be asked for
        elif self.data is None:
            bank = load_prompts(self.agent)
        default = ",".join(map(str, bank)) if self.delta is not None else "test"
        tasks = suite.select(self.task or default)
        if self.data is not None:
            dataset, length = Dataset.open(self.data), base.agent.config.prompt
            if dataset.suite != suite.name:
                raise UserError(f"{self.data} is of suite {dataset.suite}, not {suite.name}")
            bank = {
                t: few_shot(dataset, t, self.quality, self.trajectories, self.seed, length, reward).prompts
                for t in tasks
            }
        if missing := [task for task in tasks if task not in bank]:
            raise UserError(f"no prompts of task {missing[0]} in {self.delta or self.agent}: give --data")
        plain = plain.to(pick_device(self.device))
        prompts = {task: bank[task] for task in tasks}
        for task, entry in prompts.items():
            if not _fits(entry.prompts, base.agent.config):
                raise UserError(f"{self.data or self.delta or self.agent} has prompts of task {task} of another agent")

        def progress(step: int, total: int) -> None:
            out.progress(f"{len(tasks) * self.episodes} episodes (steps)", step, total)

        scores = evaluate_plain(plain, suite, prompts, self.episodes, self.seed, self.precision, progress)
        out.close()
        columns = ["task", "what", "return", "95% interval", "normalised", "asked for"]
        rows = [
            [str(s.task), s.name, number(s.mean_return), interval(s.interval), number(s.normalised, 3)]
            + [number(s.target_return)]
            + ([number(s.success, 2)] if suite.has_success else [])
            for s in scores
        ]
        out.table(columns + (["success"] if suite.has_success else []), rows, left=2)
        mean = sum(s.mean_return for s in scores) / len(scores)
        out.say(f"mean return {mean:.1f} over {len(scores)} tasks, {self.episodes} episodes each")
        out.result({"mean_return": mean, "scores": [s.to_json() for s in scores]})


def _fits(prompts: "Prompt", config: "AgentConfig") -> bool:
    """Tell whether an agent of this size can read the prompts."""
    dims = prompts.observations.shape[2], prompts.actions.shape[2]
    times = prompts.timesteps
    known = bool((times >= 0).all() and (times < config.max_timesteps).all())
    return known and dims == (config.observation_dim, config.action_dim)
