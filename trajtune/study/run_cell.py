"""From few-shot set to result: the only code that finetunes and scores, for the study, the demo and the benchmarks."""

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trajtune.agents.saving import SavedAgent
from trajtune.artifacts import signature
from trajtune.data.fewshot import FewShot
from trajtune.errors import DivergedError, UserError
from trajtune.policy import Policy
from trajtune.progress import Progress, silent
from trajtune.rollout.score import Score, Subject, score
from trajtune.study.cell import Evaluation, Run, settled
from trajtune.study.machine import this_machine
from trajtune.study.results import Point, Result, Retained
from trajtune.suites.base import Suite
from trajtune.training.config import Recipe
from trajtune.training.deltas import policy_for
from trajtune.training.finetune import finetune


def run_cell(
    base: SavedAgent,
    few: FewShot,
    suite: Suite,
    recipe: Recipe | None = None,
    evaluation: Evaluation | None = None,
    *,
    data: str | None = None,
    label: str = "",
    device: torch.device | str = "cpu",
    delta: Path | None = None,
    keep_course: bool = False,
    progress: Progress = silent,
) -> Result:
    """Finetune by ``recipe`` (without one: zero-shot), score along the way and at the end, and say all about it.

    A divergence is a result; every other error is raised. ``data`` is the digest of the dataset that ``few`` is from.
    With ``delta``, what moved is saved in that folder, in place of what may be there. With ``keep_course``, the result
    has what was achieved at every step.
    """
    where = torch.device(device)
    recipe, evaluation = settled(recipe, evaluation or Evaluation(), str(where))
    few_digest = signature(few.identity())
    run = Run(few.suite, few.task, few.setting, few.seed, recipe, base.digest, data or few_digest, evaluation)
    watched = _Watched(base, few, suite, run.evaluation)
    told: dict[str, Any] = {}
    began = time.perf_counter()
    try:
        if run.recipe is None:
            final = watched.finish(base.agent.to(where), 0)
        else:
            final = _finetuned(base, few, run.recipe, watched, where, delta, progress)
        told = {
            "returns": tuple(final.returns),
            "successes": None if final.successes is None else tuple(final.successes),
            "lengths": tuple(final.lengths),
            "mean_return": final.mean_return,
            "normalised": final.normalised,
            "success": final.success,
            "achieved": tuple(map(tuple, final.achieved)) if keep_course else (),
            "curve": tuple(watched.curve),
            "forgetting": watched.retained,
        }
    except DivergedError as error:
        told = {"diverged": str(error), "curve": tuple(watched.curve)}
    spent = time.perf_counter() - began
    return Result(
        run,
        label,
        suite.task(few.task).name,
        suite.metric,
        few_shot=few_digest,
        references=dict(few.brief.references),
        target_return=few.brief.target_return,
        finetune_seconds=round(spent - watched.along_seconds - watched.final_seconds, 2),
        evaluate_seconds=round(watched.final_seconds, 2),
        machine=this_machine(),
        agent_size=sum(p.numel() for p in base.agent.parameters()),
        trainable=watched.trainable,
        **told,
    )


def _finetuned(
    base: SavedAgent,
    few: FewShot,
    recipe: Recipe,
    watched: "_Watched",
    device: torch.device,
    delta: Path | None,
    progress: Progress,
) -> Score:
    total = recipe.training.steps
    points = watched.evaluation.steps(total)[1:-1]

    def on_progress(stage: str, done: int, total: int, metrics: Mapping[str, float] = {}, /) -> None:
        watched.metrics.update(metrics)
        progress(stage, done, total, metrics)

    def watch(step: int, policy: Policy) -> None:
        if step in points:
            watched.add(policy, step)

    # Where training starts: not always where the agent stands, since a tuned prompt takes the place of the task's.
    start = policy_for(base.agent, few.brief, recipe).to(device)
    watched.trainable = sum(p.numel() for p in start.trainable().values())
    watched.add(start, 0)
    tuned = finetune(base, few, recipe, device=device, progress=on_progress, watch=watch)
    watched.metrics.update(tuned.facts)
    final = watched.finish(tuned.policy, total)
    watched.look_back(base, tuned.policy)
    if delta is not None:
        unfinished = delta.with_name(f".{delta.name}.unfinished")
        for folder in (unfinished, delta):
            shutil.rmtree(folder, ignore_errors=True)
        tuned.save(unfinished)
        os.replace(unfinished, delta)
    return final


class _Watched:
    """The scores of one run as it goes on."""

    def __init__(self, base: SavedAgent, few: FewShot, suite: Suite, evaluation: Evaluation) -> None:
        self._few, self._suite, self.evaluation = few, suite, evaluation
        self.curve: list[Point] = []
        self.metrics: dict[str, float] = {}
        self.along_seconds = self.final_seconds = 0.0
        self.retained: tuple[Retained, ...] = ()
        self.trainable: int | None = None
        known = [task for task in base.trained_on if task != few.task and task in base.briefs]
        count = evaluation.forgetting
        if count > len(known):
            raise UserError(f"forgetting asks for {count} tasks; the agent was pretrained on {len(known)} others")
        self._remembered = [known[round(i * (len(known) - 1) / max(1, count - 1))] for i in range(count)]

    def add(self, subject: Subject, step: int) -> None:
        """Score a point of the curve."""
        began = time.perf_counter()
        self._point(self._score(subject, self.evaluation.along), step)
        self.along_seconds += time.perf_counter() - began

    def finish(self, subject: Subject, step: int) -> Score:
        """Give the final score; its first episodes end the curve."""
        began = time.perf_counter()
        final = self._score(subject, self.evaluation.episodes)
        self._point(final, step)
        self.final_seconds = time.perf_counter() - began
        return final

    def look_back(self, base: SavedAgent, policy: Policy) -> None:
        """Score tasks of pretraining with the agent and with the policy, evenly spread over those there are."""
        e, began = self.evaluation, time.perf_counter()
        briefs = {task: base.briefs[task] for task in self._remembered}
        if briefs:
            agent = base.agent.to(policy.device)
            pairs = [score(each, self._suite, briefs, e.along, e.seed, e.precision) for each in (agent, policy)]
            self.retained = tuple(
                Retained(before.task, before.mean_return, after.mean_return, before.normalised, after.normalised)
                for before, after in zip(*pairs, strict=True)
            )
        self.along_seconds += time.perf_counter() - began

    def _score(self, subject: Subject, episodes: int) -> Score:
        e, few = self.evaluation, self._few
        found = score(subject, self._suite, {few.task: few.brief}, episodes, e.seed, e.precision)[0]
        if not np.isfinite(found.returns).all():
            raise DivergedError("acting diverged: a return is not finite")
        return found

    def _point(self, found: Score, step: int) -> None:
        n = self.evaluation.along
        mean = float(np.mean(found.returns[:n]))
        success = None if found.successes is None else float(np.mean(found.successes[:n]))
        metrics = {name: float(value) for name, value in self.metrics.items()}
        normalised = self._few.brief.normalised(mean)
        self.curve.append(Point(step, tuple(found.returns[:n]), mean, normalised, success, metrics))
