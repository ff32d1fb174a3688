"""Draw windows and prompts, vectorised over the batch. All randomness comes from the generator handed in."""

import numpy as np
import torch

from trajtune.data.trajectories import Array, Trajectories
from trajtune.errors import UserError
from trajtune.types import Batch, Prompt, Window


def draw_windows(data: Trajectories, rng: np.random.Generator, batch: int, length: int) -> tuple[Window, Array]:
    """Draw ``batch`` windows of up to ``length`` steps and the number [B] of the trajectory each comes from.

    The last step of a window is uniform over all steps of the data (FACTS section 4: not only the last ones of a
    trajectory), so a window is what the agent sees at that step of an episode.
    """
    cumulative = np.cumsum(data.length)
    step = rng.integers(cumulative[-1], size=batch)
    which = np.searchsorted(cumulative, step, side="right")
    last = step - (cumulative[which] - data.length[which])  # [B], within the trajectory
    first = np.maximum(last - length + 1, 0)
    timesteps = first[:, None] + np.arange(length)  # [B, K]
    mask = timesteps <= last[:, None]
    timesteps = np.where(mask, timesteps, 0)
    rows = data.start[which][:, None] + timesteps
    ends = timesteps == (data.length[which] - 1)[:, None]
    window = Window(
        returns_to_go=_gather(data.returns_to_go, rows, mask),
        observations=_gather(data.observations, rows, mask),
        actions=_gather(data.actions, rows, mask),
        rewards=_gather(data.rewards, rows, mask),
        timesteps=torch.from_numpy(timesteps),
        terminals=torch.from_numpy(ends & data.terminated[which][:, None] & mask),
        mask=torch.from_numpy(mask),
        index=torch.from_numpy(np.where(mask, rows, 0)),
    )
    return window, which


def draw_prompts(data: Trajectories, rng: np.random.Generator, which: Array, length: int) -> Prompt:
    """Draw one prompt of ``length`` consecutive steps from each trajectory ``which`` [B]."""
    room = data.length[which] - length
    if (room < 0).any():
        shortest = int(data.length[which].min())
        raise UserError(f"a trajectory has {shortest} steps, fewer than the prompt's {length}")
    timesteps = rng.integers(room + 1)[:, None] + np.arange(length)
    rows = data.start[which][:, None] + timesteps
    return Prompt(
        returns_to_go=_gather(data.returns_to_go, rows),
        observations=_gather(data.observations, rows),
        actions=_gather(data.actions, rows),
        timesteps=torch.from_numpy(timesteps),
    )


def draw_batch(
    data: Trajectories, rng: np.random.Generator, batch: int, window_length: int, prompt_length: int
) -> Batch:
    """Draw windows, each with a prompt from a random trajectory of the same task that is long enough for one.

    ``data`` is sorted by task.
    """
    window, which = draw_windows(data, rng, batch, window_length)
    able = np.flatnonzero(data.length >= prompt_length)
    first = np.searchsorted(data.task[able], data.task[which], side="left")
    last = np.searchsorted(data.task[able], data.task[which], side="right")
    if (first == last).any():
        task = int(data.task[which][first == last][0])
        raise UserError(f"no trajectory of task {task} has the {prompt_length} steps that a prompt needs")
    return Batch(draw_prompts(data, rng, able[rng.integers(first, last)], prompt_length), window)


def _gather(array: Array, rows: Array, mask: Array | None = None) -> torch.Tensor:
    values = np.asarray(array[rows], np.float32)
    if mask is not None:
        values[~mask] = 0.0
    return torch.from_numpy(values)
