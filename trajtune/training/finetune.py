"""Finetune an agent on a few recorded trajectories of one task."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trajtune.agents.saving import SavedAgent
from trajtune.algorithms.base import Shape, make_algorithm
from trajtune.artifacts import DELTA, claimed, clear, finished
from trajtune.compute.precision import resolved
from trajtune.data.fewshot import Brief, FewShot
from trajtune.data.sampling import draw_batch
from trajtune.errors import UserError
from trajtune.loggers import JsonLines
from trajtune.policy import Policy
from trajtune.progress import Progress, silent
from trajtune.seeds import stream
from trajtune.training.checkpoint import CHECKPOINT
from trajtune.training.config import Recipe
from trajtune.training.deltas import load_delta, policy_for, save_delta
from trajtune.training.loop import Log, train
from trajtune.types import Batch

LOG = "log"
"""Name of the file of what training logs, without its ending."""
LOOKS, LOOK_ROWS = 8, 32
"""Batches, and windows in each, that a policy may be initialised from."""


@dataclass(frozen=True, repr=False)
class Finetuned:
    """A tuned policy, the log of its training, and what saving it needs."""

    policy: Policy
    briefs: Mapping[int, Brief]
    recipe: Recipe
    run: Mapping[str, Any]
    log: Log
    facts: Mapping[str, float]
    """What the algorithm measured of the data before the first update: what its critic is worth, for instance."""
    notes: Sequence[str] = ()
    """What the data mean for the algorithm, in words."""

    def __repr__(self) -> str:
        tasks = ", ".join(map(str, self.briefs))
        return f"Finetuned({self.recipe.algorithm} x {self.recipe.tuning} on task {tasks}, {len(self.log)} log entries)"

    def save(self, folder: Path | str) -> None:
        """Write the delta: only what moved, with its base's digest and the brief to act under.

        The folder must be new or empty.
        """
        path = Path(folder)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UserError(f"{path} already holds something else: choose another folder")
        save_delta(path, self.policy, self.briefs, self.run, _told(self))


def finetune(
    base: SavedAgent,
    few: FewShot,
    recipe: Recipe | None = None,
    *,
    folder: Path | str | None = None,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
    watch: Callable[[int, Policy], None] = lambda step, policy: None,
) -> Finetuned:
    """Finetune with a fresh optimiser and fresh critics; with a ``folder``, resumable and saved there.

    ``watch(step, policy)`` is called after every step; the policy may be evaluated there.
    """
    recipe = (recipe or Recipe()).resolved()
    check_fits(base, few)
    precision = resolved(recipe.training.precision, torch.device(device))
    recipe = replace(recipe, training=replace(recipe.training, precision=precision))
    run = {"base": base.digest, "recipe": recipe.to_json(), "data": few.identity()}
    briefs = {few.task: few.brief}
    where = None if folder is None else Path(folder)
    if where is not None and (header := finished(where, DELTA, run)) is not None:
        saved = load_delta(where, base)
        clear(where, [CHECKPOINT])  # of a run that was killed between saving and clearing
        told = {str(name): float(value) for name, value in header["facts"].items()}
        return Finetuned(saved.policy, saved.briefs, recipe, run, header["log"], told, header["notes"])
    spec, training = base.agent.spec, recipe.training
    algorithm = make_algorithm(recipe.algorithm, recipe.options)
    policy = policy_for(base.agent, few.brief, recipe).to(device)
    shape = Shape(training.batch, spec.window, spec.prompt, spec.max_timesteps)
    policy.initialise(_first_look(few, shape, training.seed))
    algorithm.setup(policy, few.trajectories, training.seed)
    stage = f"{recipe.algorithm} x {recipe.tuning} (updates)"

    def draw(rng: np.random.Generator) -> Batch:
        batch: Batch = algorithm.draw(few.trajectories, rng, shape)
        return batch

    with claimed(where, DELTA, run, [CHECKPOINT]), _lines(where, recipe) as lines:

        def on_step(step: int, metrics: dict[str, float]) -> None:
            if lines is not None and metrics:
                lines.log(step, metrics)
            progress(stage, step, training.steps, metrics)
            watch(step, policy)

        log = train(policy, algorithm, draw, training, run=run, folder=where, on_step=on_step)
    facts = {name: value for name, value in algorithm.facts().items() if math.isfinite(value)}
    done = Finetuned(policy, briefs, recipe, run, log, facts, tuple(algorithm.notes()))
    if where is not None:
        save_delta(where, policy, briefs, run, _told(done))
        clear(where, [CHECKPOINT])
    return done


@contextmanager
def _lines(folder: Path | None, recipe: Recipe) -> Iterator[JsonLines | None]:
    """What training logs, as it goes on, beside the delta."""
    if folder is None:
        yield None
        return
    lines = JsonLines(folder, LOG, recipe.to_json())
    try:
        yield lines
    except Exception:
        if not (folder / CHECKPOINT).exists():  # nothing to go on from: nothing is left
            (folder / f"{LOG}.jsonl").unlink()
        raise
    finally:
        lines.close()


def _first_look(few: FewShot, shape: Shape, seed: int) -> Iterator[Batch]:
    """Draw what a policy may look at before it is trained."""
    rng, sizes = stream(seed, "first-look"), (shape.window, shape.prompt, shape.max_timesteps)
    for _ in range(LOOKS):
        yield draw_batch(few.trajectories, rng, LOOK_ROWS, *sizes)


def _told(done: Finetuned) -> dict[str, Any]:
    return {"log": done.log, "facts": dict(done.facts), "notes": list(done.notes)}


def check_fits(base: SavedAgent, few: FewShot) -> None:
    """Raise a ``UserError`` unless these trajectories are such as the agent knows."""
    spec, found = base.agent.spec, few.trajectories
    dims = found.observations.shape[1], found.actions.shape[1]
    if dims != (spec.observation_dim, spec.action_dim):
        raise UserError(
            f"the data has {dims[0]} observations and {dims[1]} actions, "
            f"the agent {spec.observation_dim} and {spec.action_dim}"
        )
    if found.length.max() > spec.max_timesteps:
        raise UserError(f"a trajectory has {found.length.max()} steps, the agent knows {spec.max_timesteps}")
    few.brief.check_length(spec.prompt)
    if base.suite is not None and base.suite != few.suite:
        raise UserError(f"the agent was pretrained on suite {base.suite}, the data is of {few.suite}")
