"""What evaluation needs of a task's data: prompts, the return to ask for, and the reference returns."""

import math
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch

from trajtune.data.sampling import draw_prompts
from trajtune.data.trajectories import Array, Trajectories
from trajtune.errors import UserError
from trajtune.files import read_arrays, read_json, sha256, write_arrays, write_json
from trajtune.statistics import normalised
from trajtune.types import Prompt

PROMPTS = 50


@dataclass(frozen=True)
class TaskPrompts:
    """Prompts [n] of one task; episode i uses prompt i modulo n, so every cell of a task sees the same ones.

    ``target_return`` is what the agent is asked for: the best return among the trajectories the prompts come from.
    ``references`` holds the returns of the ``random`` policy and the ``expert`` where they are known.
    ``delayed`` says that the reward arrives at an episode's end: until then the return-to-go stays what was asked for.
    """

    prompts: Prompt
    target_return: float
    references: dict[str, float]
    delayed: bool = False

    def normalised(self, episode_return: float) -> float | None:
        """The return between the random policy's (0) and the expert's (1), or None where they are not known."""
        return normalised(episode_return, self.references)


def make_prompts(
    data: Trajectories, length: int, references: dict[str, float], seed: int, delayed: bool = False
) -> TaskPrompts:
    """Draw the prompts of one task from its trajectories (those with at least ``length`` steps)."""
    long_enough = np.flatnonzero(data.length >= length)
    if len(long_enough) == 0:
        raise UserError(f"no trajectory has the {length} steps that a prompt needs")
    rng = np.random.default_rng([seed, int(data.task[0])])
    prompts = draw_prompts(data, rng, rng.choice(long_enough, PROMPTS), length)
    return TaskPrompts(prompts, float(data.returns.max()), references, delayed)


def save_prompts(folder: Path, bank: dict[int, TaskPrompts]) -> None:
    """Write ``prompts.safetensors`` and ``prompts.json``: one entry a task."""
    arrays = {
        f"{task}.{field.name}": getattr(entry.prompts, field.name).numpy()
        for task, entry in bank.items()
        for field in fields(Prompt)
    }
    write_arrays(folder / "prompts.safetensors", arrays)
    names = ("target_return", "references", "delayed")
    texts = {str(task): {name: getattr(entry, name) for name in names} for task, entry in bank.items()}
    write_json(folder / "prompts.json", {"sha256": sha256(folder / "prompts.safetensors"), "tasks": texts})


def load_prompts(folder: Path) -> dict[int, TaskPrompts]:
    """Read what ``save_prompts`` wrote."""
    arrays = read_arrays(folder / "prompts.safetensors", "prompts")
    about = read_json(folder / "prompts.json", "prompts")
    if about.get("sha256") != sha256(folder / "prompts.safetensors"):
        raise UserError(f"{folder / 'prompts.safetensors'} is damaged: its checksum does not match prompts.json")
    try:
        return {
            int(task): TaskPrompts(
                _prompt(arrays, task, folder / "prompts.safetensors"),
                _finite(entry["target_return"]),
                {str(k): _finite(v) for k, v in entry["references"].items()},
                bool(entry.get("delayed", False)),
            )
            for task, entry in about["tasks"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(f"{folder / 'prompts.json'} does not match its arrays ({error})") from None


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return float(value)


def _prompt(arrays: dict[str, Array], task: str, path: Path) -> Prompt:
    found = {field.name: arrays[f"{task}.{field.name}"] for field in fields(Prompt)}
    size = found["returns_to_go"].shape  # [n, P]
    for name, array in found.items():
        kind, dims = (
            (np.int64 if name == "timesteps" else np.float32),
            (3 if name in ("observations", "actions") else 2),
        )
        fits = array.dtype == kind and array.ndim == dims and array.shape[:2] == size and array.size > 0
        if not fits or not np.isfinite(array).all():
            raise UserError(f"{path} is damaged: its {task}.{name} is not that of prompts")
    return Prompt(**{name: torch.from_numpy(array) for name, array in found.items()})
