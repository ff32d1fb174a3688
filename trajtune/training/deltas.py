"""Deltas on disk: what a run moved, the base it belongs to, and the brief to act under; and merging them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trajtune.agents.base import Agent
from trajtune.agents.saving import WEIGHTS, SavedAgent, load_agent, save_agent
from trajtune.artifacts import AGENT, DELTA, claimed, clear, finish, finished, read_header
from trajtune.data.fewshot import BRIEFS, Brief, read_briefs, write_briefs
from trajtune.data.trajectories import Array
from trajtune.errors import UserError
from trajtune.files import disk_error, read_arrays, write_arrays
from trajtune.policy import Policy
from trajtune.training.config import Recipe
from trajtune.tunings.making import make_policy


@dataclass(frozen=True)
class SavedDelta:
    """A tuned policy and where it comes from."""

    policy: Policy
    briefs: Mapping[int, Brief]
    recipe: Recipe
    run: Mapping[str, Any]
    """What decided it: ``base`` (digest of the agent), ``recipe`` and ``data``."""
    header: Mapping[str, Any]


def save_delta(
    folder: Path, policy: Policy, briefs: Mapping[int, Brief], run: Mapping[str, Any], about: Mapping[str, Any]
) -> None:
    """Write what moved and the briefs, then the header, with ``run`` and ``about`` in it."""
    tensors = {name: tensor.detach().cpu().numpy() for name, tensor in policy.delta().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        extra = policy.save_extra(folder)
    except OSError as error:
        raise disk_error(folder, error) from error
    write_arrays(folder / policy.delta_file, tensors)
    header = {"run": run, "bytes": sum(array.nbytes for array in tensors.values()), "delta_file": policy.delta_file}
    header["briefs"] = write_briefs(folder, briefs)
    finish(folder, DELTA, {**header, **about}, [policy.delta_file, BRIEFS, *extra])


def load_delta(folder: Path | str, base: SavedAgent) -> SavedDelta:
    """Put a delta on its base. Another base, a damaged or a foreign file is a ``UserError``."""
    path = Path(folder)
    header = read_header(path, DELTA)
    run = header.get("run")
    if not isinstance(run, dict) or not isinstance(run.get("base"), str):
        raise UserError(f"{path / DELTA.header} is not complete: it does not say which run made it")
    if run["base"] != base.digest:
        raise UserError(f"{path} belongs to another base: agent {run['base'][:12]}, not {base.digest[:12]}")
    recipe = Recipe.from_json(run.get("recipe"), f"{path / DELTA.header}: recipe")
    try:
        briefs = read_briefs(path, header["briefs"])
        policy = policy_for(base.agent, next(iter(briefs.values())), recipe)
        arrays = read_arrays(path / policy.delta_file, "delta")
        policy.load_delta({name: torch.from_numpy(array) for name, array in arrays.items()})
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, StopIteration) as error:
        raise UserError(f"{path} does not fit its base ({error})") from None
    return SavedDelta(policy, briefs, recipe, run, header)


def policy_for(agent: Agent, brief: Brief, recipe: Recipe) -> Policy:
    """Put an agent under a recipe's tuning; what starts from a prompt starts from the brief's first."""
    first = None if brief.prompts is None else brief.prompts[:1]
    seed = recipe.training.seed
    if recipe.std is None:
        raise ValueError("its recipe has no std: it is not resolved")
    return make_policy(recipe.tuning, agent, first, recipe.tuning_options, std=recipe.std, seed=seed)


def merge(saved: SavedDelta) -> Agent:
    """Return a plain agent that acts as the tuned policy, the same within rounding.

    What is not in the agent's weights cannot be merged and is a ``UserError``, and so are weights that are not finite.
    """
    agent, tuning = saved.policy.merged(), saved.recipe.tuning
    if agent is None:
        raise UserError(
            f"a {tuning} delta cannot be merged: it is not part of the agent's weights; evaluate --delta acts with it"
        )
    if not all(bool(tensor.isfinite().all()) for tensor in agent.state_dict().values()):
        raise UserError(f"merging this {tuning} delta gives weights that are not finite: it is damaged or diverged")
    return agent


def save_merged(folder: Path | str, base: SavedAgent, saved: SavedDelta) -> SavedAgent:
    """Save the merged agent in ``folder`` and return it, or the one that the same call left there.

    Briefs of the other tasks are the base's: an agent can be evaluated on its suite's test tasks.
    """
    path, agent = Path(folder), merge(saved)
    run = {"merged": saved.header["digest"], **saved.run}
    if finished(path, AGENT, run) is None:
        with claimed(path, AGENT, run, [WEIGHTS, BRIEFS]):
            about = {"run": run, "base_run": base.header.get("run")}
            save_agent(path, agent, base.suite, {**base.briefs, **saved.briefs}, about)
    clear(path)
    return load_agent(path)


def delta_arrays(folder: Path | str) -> tuple[Recipe, Mapping[int, Brief], dict[str, Array]]:
    """Return what a delta holds without its base, checked as far as that goes: its recipe, briefs and arrays."""
    path = Path(folder)
    header = read_header(path, DELTA)
    try:
        recipe = Recipe.from_json(header["run"]["recipe"], f"{path / DELTA.header}: recipe")
        briefs = read_briefs(path, header["briefs"])
        return recipe, briefs, read_arrays(path / header["delta_file"], "delta")
    except (KeyError, TypeError) as error:
        raise UserError(f"{path / DELTA.header} is not complete ({error})") from None
