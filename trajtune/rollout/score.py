"""Scores: many episodes of one or several tasks advance together in the real environments."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from trajtune.agents.base import Actor, Spec
from trajtune.agents.saving import SavedAgent
from trajtune.compute.precision import Precision, compute_dtype, resolved
from trajtune.data.fewshot import Brief
from trajtune.errors import UserError
from trajtune.progress import Progress, silent
from trajtune.seeds import number
from trajtune.statistics import Interval, mean_interval
from trajtune.suites import get_suite
from trajtune.suites.base import Array, Env, Suite
from trajtune.training.deltas import SavedDelta
from trajtune.training.finetune import Finetuned
from trajtune.types import Prompt


class Subject(Protocol):
    """Who can be scored: an agent, or a policy."""

    @property
    def spec(self) -> Spec: ...
    @property
    def device(self) -> torch.device: ...
    def actor(self, prompts: Prompt | None, dtype: torch.dtype = ...) -> Actor: ...


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
    """None where the references are not known."""
    success: float | None
    """Share of episodes that met the goal at any step; None where the environment does not say what success is."""
    successes: list[bool] | None
    """The same of each episode."""
    lengths: list[int]
    target_return: float
    seed: int
    precision: str
    achieved: list[list[float]] = field(default_factory=list, repr=False)
    """What was achieved at each step, mean over the episodes, [T][D], such as a velocity; empty if nobody says it."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def episode_seed(seed: int, task: int, episode: int) -> int:
    """Return the reset seed of an episode: the same for every cell of a task, so that comparisons are paired."""
    return number(seed, "episode", task, episode) % 2**31


def score(
    subject: Subject,
    suite: Suite,
    briefs: Mapping[int, Brief],
    episodes: int = 50,
    seed: int = 0,
    precision: Precision = "auto",
    progress: Progress = silent,
) -> list[Score]:
    """Run ``episodes`` episodes of every task in ``briefs``, all at once, and return one score a task."""
    if episodes < 1:
        raise UserError(f"episodes must be at least 1, got {episodes}")
    device = subject.device
    horizons = {task: suite.horizon(task) for task in briefs}
    check_dimensions(subject.spec, suite, max(horizons.values()))
    for brief in briefs.values():
        brief.check_length(subject.spec.prompt)
    jobs = [(task, episode) for task in briefs for episode in range(episodes)]
    run = _Run(suite, jobs, seed, np.array([horizons[task] for task, _ in jobs]))
    dtype = compute_dtype(precision, device)
    try:
        actor = subject.actor(_prompts(briefs, jobs, device), dtype)
        target = torch.tensor([briefs[task].target_return for task, _ in jobs])
        seen = torch.tensor([not briefs[task].delayed for task, _ in jobs])  # whose return-to-go falls as it is paid
        actions: torch.Tensor | None = None
        for t in range(max(horizons.values())):
            remaining = (target - torch.from_numpy(run.returns).float() * seen).to(device)
            actions = actor.act(t, remaining, torch.from_numpy(run.observations).to(device), actions)
            run.step(actions.float().cpu().numpy())
            progress(f"{len(jobs)} episodes (steps)", t + 1, max(horizons.values()))
            if run.done.all():
                break
    finally:
        run.close()
    name = resolved(precision, device)
    return [
        _score(suite, task, brief, run, [i for i, job in enumerate(jobs) if job[0] == task], seed, name)
        for task, brief in briefs.items()
    ]


def check_dimensions(spec: Spec, suite: Suite, horizon: int) -> None:
    """An agent of other dimensions, or for shorter episodes, cannot act in a suite."""
    if (spec.observation_dim, spec.action_dim) != (suite.observation_dim, suite.action_dim):
        raise UserError(
            f"the agent has {spec.observation_dim} observations and {spec.action_dim} actions, "
            f"suite {suite.name} has {suite.observation_dim} and {suite.action_dim}"
        )
    if horizon > spec.max_timesteps:
        raise UserError(f"the agent knows {spec.max_timesteps} timesteps, suite {suite.name} has {horizon}")


class _Run:
    """Environments in step. One that has ended is left alone: its observation stays, its return is final."""

    def __init__(self, suite: Suite, jobs: Sequence[tuple[int, int]], seed: int, horizons: Array) -> None:
        self._suite, self._horizons = suite, horizons
        self._envs: list[Env] = [suite.make(suite.task(task)) for task, _ in jobs]
        first = [
            suite.view(env.reset(seed=episode_seed(seed, *job))[0]) for env, job in zip(self._envs, jobs, strict=True)
        ]
        self.observations = np.asarray(first, np.float32)
        self.returns = np.zeros(len(jobs))
        self.lengths = np.zeros(len(jobs), int)
        self.done = np.zeros(len(jobs), bool)
        self.success: list[bool | None] = [None] * len(jobs)
        self.achieved: list[list[Array]] = [[] for _ in jobs]

    def step(self, actions: Array) -> None:
        for i in np.flatnonzero(~self.done):
            observation, reward, terminated, truncated, info = self._envs[i].step(actions[i])
            self.observations[i] = self._suite.view(observation)
            self.returns[i] += reward
            self.lengths[i] += 1
            self.done[i] = terminated or truncated or self.lengths[i] >= self._horizons[i]
            if "achieved" in info:
                self.achieved[i].append(np.asarray(info["achieved"], np.float64))
            if "success" in info:
                self.success[i] = bool(self.success[i]) or bool(info["success"])

    def close(self) -> None:
        for env in self._envs:
            env.close()


def _prompts(briefs: Mapping[int, Brief], jobs: Sequence[tuple[int, int]], device: torch.device) -> Prompt | None:
    """Return the prompt of every episode: those of its task in turn. None for an agent without prompts."""
    each = []
    for task, episode in jobs:
        if (prompts := briefs[task].prompts) is None:
            return None
        k = episode % len(prompts)
        each.append(prompts[k : k + 1])
    stacked = {name: torch.cat([getattr(p, name) for p in each]) for name in Prompt.__dataclass_fields__}
    return Prompt(**stacked).to(device)


def _score(suite: Suite, task: int, brief: Brief, run: _Run, rows: list[int], seed: int, precision: str) -> Score:
    returns = run.returns[rows]
    mean = float(returns.mean())
    successes = [run.success[i] for i in rows]
    known = [value for value in successes if value is not None]
    told = known if len(known) == len(rows) else None
    return Score(
        suite=suite.name,
        task=task,
        name=suite.task(task).name,
        returns=returns.tolist(),
        mean_return=mean,
        interval=mean_interval(returns),
        normalised=brief.normalised(mean),
        success=None if told is None else float(np.mean(told)),
        successes=told,
        lengths=run.lengths[rows].tolist(),
        target_return=brief.target_return,
        seed=seed,
        precision=precision,
        achieved=_mean_course([run.achieved[i] for i in rows]),
    )


def _mean_course(courses: Sequence[Sequence[Array]]) -> list[list[float]]:
    """Return the mean over episodes at each step, of those that still run: [T][D]."""
    longest = max(map(len, courses))
    alive = [[course[t] for course in courses if t < len(course)] for t in range(longest)]
    return [np.mean(values, axis=0).tolist() for values in alive]


def evaluate(
    subject: SavedAgent | Finetuned | SavedDelta,
    suite: str | Suite,
    task: int,
    brief: Brief | None = None,
    episodes: int = 50,
    seed: int = 0,
    precision: Precision = "auto",
) -> Score:
    """Score an agent, or what finetuning made of it, on one task.

    ``brief`` defaults to the one that the agent or tuned policy carries for the task.
    """
    if brief is None:
        if task not in subject.briefs:
            raise UserError(f"no brief of task {task}: hand one in, for instance that of a few-shot set")
        brief = subject.briefs[task]
    family = get_suite(suite) if isinstance(suite, str) else suite
    who: Subject = subject.agent if isinstance(subject, SavedAgent) else subject.policy
    return score(who, family, {task: brief}, episodes, seed, precision)[0]
