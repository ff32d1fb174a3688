"""Scores: many episodes of one or several tasks advance together in the real environments."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from trajtune.agents import SavedAgent
from trajtune.data.prompts import TaskPrompts
from trajtune.data.trajectories import Array
from trajtune.errors import UserError
from trajtune.policy import Plain
from trajtune.rollout.acting import Actor
from trajtune.statistics import Interval, mean_interval
from trajtune.suites import Env, Suite, get_suite
from trajtune.training.finetune import Finetuned
from trajtune.training.precision import Precision, compute_dtype
from trajtune.tunings.saving import SavedDelta
from trajtune.types import Prompt


@dataclass(frozen=True)
class Score:
    """What evaluation gives for one task. Returns are undiscounted; episode i has the same seed in every cell."""

    suite: str
    task: int
    name: str
    returns: list[float]
    mean_return: float
    interval: Interval
    """95% bootstrap interval of the mean return."""
    normalised: float | None
    success: float | None
    """Share of episodes that met the goal at any step, where the suite says what success is."""
    target_return: float
    seed: int
    precision: str
    achieved: list[list[float]] = field(default_factory=list, repr=False)
    """What was achieved at each step, mean over the episodes, [T][D]: velocity, position."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def episode_seed(seed: int, task: int, episode: int) -> int:
    """Return the reset seed of an episode: the same for every cell of a task, so that comparisons are paired."""
    return int(np.random.default_rng([seed, task, episode]).integers(2**31))


def evaluate_plain(
    plain: Plain,
    suite: Suite,
    prompts: dict[int, TaskPrompts],
    episodes: int = 50,
    seed: int = 0,
    precision: Precision = "auto",
    progress: Callable[[int, int], None] = lambda step, total: None,
) -> list[Score]:
    """Run ``episodes`` episodes of every task in ``prompts``, all at once, and return one score a task."""
    if episodes < 1:
        raise UserError(f"episodes must be at least 1, got {episodes}")
    check_dimensions(plain, suite)
    jobs = [(task, episode) for task in prompts for episode in range(episodes)]
    envs = [suite.make(suite.task(task)) for task, _ in jobs]
    dtype = compute_dtype(precision, plain.agent.observation_mean.device)
    actor = Actor(plain.agent, dtype)
    actor.begin(_prompts_of(plain, prompts, jobs))
    run = _Run(envs, [episode_seed(seed, task, episode) for task, episode in jobs], suite)
    target = torch.tensor([prompts[task].target_return for task, _ in jobs])
    seen = torch.tensor([not prompts[task].delayed for task, _ in jobs])  # whose return-to-go falls as it is paid
    device = plain.agent.observation_mean.device
    actions: torch.Tensor | None = None
    for t in range(suite.horizon):
        states = plain.agent.normalise(torch.from_numpy(run.observations).to(device))
        remaining = (target - torch.from_numpy(run.returns).float() * seen).to(device)
        actions = actor.act(t, remaining, states, actions)
        if plain.residual is not None:
            with torch.inference_mode():
                actions = (actions + plain.residual(states)).clamp(-1.0, 1.0)
        run.step(actions.float().cpu().numpy())
        progress(t + 1, suite.horizon)
        if run.done.all():
            break
    for env in envs:
        env.close()
    name = "bf16" if dtype == torch.bfloat16 else "fp32"
    return [
        _score(suite, task, entry, run, [i for i, job in enumerate(jobs) if job[0] == task], seed, name)
        for task, entry in prompts.items()
    ]


def check_dimensions(plain: Plain, suite: Suite) -> None:
    """An agent of other dimensions cannot act in a suite."""
    config = plain.agent.config
    if (config.observation_dim, config.action_dim) != (suite.observation_dim, suite.action_dim):
        raise UserError(
            f"the agent has {config.observation_dim} observations and {config.action_dim} actions, "
            f"suite {suite.name} has {suite.observation_dim} and {suite.action_dim}"
        )
    if suite.horizon > config.max_timesteps:
        raise UserError(f"the agent knows {config.max_timesteps} timesteps, suite {suite.name} has {suite.horizon}")


class _Run:
    """Environments in step. One that has ended is left alone: its observation stays, its return is final."""

    def __init__(self, envs: Sequence[Env], seeds: Sequence[int], suite: Suite) -> None:
        self._envs = envs
        first = [env.reset(seed=seed)[0] for env, seed in zip(envs, seeds, strict=True)]
        self.observations = np.asarray(first, np.float32)
        self.returns = np.zeros(len(envs))
        self.done = np.zeros(len(envs), bool)
        self.success = np.zeros(len(envs), bool) if suite.has_success else None
        self.achieved: list[Array] = []

    def step(self, actions: Array) -> None:
        achieved: list[Array] = []
        for i, env in enumerate(self._envs):
            if self.done[i]:
                achieved.append(np.full_like(self.achieved[-1][i], np.nan))
                continue
            observation, reward, terminated, truncated, info = env.step(actions[i])
            self.observations[i] = observation
            self.returns[i] += reward
            self.done[i] = terminated or truncated
            achieved.append(np.asarray(info["achieved"], np.float64))
            if self.success is not None:
                self.success[i] |= bool(info["success"])
        self.achieved.append(np.stack(achieved))


def _prompts_of(plain: Plain, prompts: dict[int, TaskPrompts], jobs: Sequence[tuple[int, int]]) -> Prompt:
    """Return the prompt of every episode: the policy's own, or the task's in turn."""
    if plain.prompt is not None:
        return plain.prompt[torch.zeros(len(jobs), dtype=torch.int64)]
    each = [prompts[task].prompts[slice(k := e % len(prompts[task].prompts), k + 1)] for task, e in jobs]
    stacked = {name: torch.cat([getattr(p, name) for p in each]) for name in Prompt.__dataclass_fields__}
    return Prompt(**stacked).to(plain.agent.observation_mean.device)


def _score(suite: Suite, task: int, entry: TaskPrompts, run: _Run, rows: list[int], seed: int, precision: str) -> Score:
    returns = run.returns[rows]
    mean = float(returns.mean())
    achieved = np.stack([step[rows] for step in run.achieved])  # [T, E, D]
    alive = ~np.isnan(achieved).all(axis=(1, 2))
    return Score(
        suite=suite.name,
        task=task,
        name=suite.task(task).name,
        returns=returns.tolist(),
        mean_return=mean,
        interval=mean_interval(returns),
        normalised=entry.normalised(mean),
        success=None if run.success is None else float(run.success[rows].mean()),
        target_return=entry.target_return,
        seed=seed,
        precision=precision,
        achieved=np.nanmean(achieved[alive], axis=1).tolist(),
    )


def evaluate(
    subject: SavedAgent | Finetuned | SavedDelta,
    suite: str | Suite,
    task: int,
    prompts: TaskPrompts | None = None,
    episodes: int = 50,
    seed: int = 0,
    precision: Precision = "auto",
) -> Score:
    """Score an agent, or what finetuning made of it, on one task.

    ``prompts`` default to those that the tuned policy carries; a bare agent needs them.
    """
    if prompts is None:
        if isinstance(subject, SavedAgent) or task not in subject.prompts:
            raise UserError(f"no prompts of task {task}: hand in prompts, for instance those of a few-shot set")
        prompts = subject.prompts[task]
    plain = Plain(subject.agent) if isinstance(subject, SavedAgent) else subject.policy.plain()
    family = get_suite(suite) if isinstance(suite, str) else suite
    return evaluate_plain(plain, family, {task: prompts}, episodes, seed, precision)[0]
