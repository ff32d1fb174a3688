"""Draw windows and prompts, vectorised over the batch. All randomness comes from the generator handed in."""

import numpy as np
import torch

from trajtune.data.trajectories import Array, Trajectories
from trajtune.errors import UserError
from trajtune.types import Batch, Prompt, Window


def draw_windows(
    data: Trajectories, rng: np.random.Generator, batch: int, length: int, max_timesteps: int | None = None
) -> tuple[Window, Array]:
    """Draw ``batch`` windows of up to ``length`` steps and the number [B] of the trajectory each comes from.

    The last position of a window is uniform over all positions of the data (FACTS section 4: not only the last ones of
    a trajectory), so a window is what the agent sees at that step of an episode. A trajectory of T steps has T
    positions; one more if a time limit cut it off in a known state, which then stands behind its last step, present
    and masked. ``max_timesteps`` is how many timesteps the agent knows: that state is at none beyond the last of them.
    """
    final = data.final_observations if length > 1 else None  # alone in its window, that state would teach nothing
    positions = data.length + (0 if final is None else ~data.terminated)  # [N]
    cumulative = np.cumsum(positions)
    drawn = rng.integers(cumulative[-1], size=batch)
    which = np.searchsorted(cumulative, drawn, side="right")
    last = drawn - (cumulative[which] - positions[which])  # [B], within the trajectory
    first = np.maximum(last - length + 1, 0)
    steps = data.length[which][:, None]  # [B, 1]
    timesteps = first[:, None] + np.arange(length)  # [B, K]
    present = timesteps <= last[:, None]
    mask = present & (timesteps < steps)
    rows = data.start[which][:, None] + np.where(mask, timesteps, 0)
    returns_to_go = _gather(data.returns_to_go, rows, mask)
    observations = _gather(data.observations, rows, mask)
    if final is not None:
        b, k = np.nonzero(present & ~mask)  # at most one a window
        ends = (data.start + data.length - 1)[which[b]]
        observations[b, k] = final[which[b]]
        returns_to_go[b, k] = data.returns_to_go[ends] - data.rewards[ends]
        if max_timesteps is not None:
            timesteps[b, k] = np.minimum(timesteps[b, k], max_timesteps - 1)
    ended = (timesteps == steps - 1) & data.terminated[which][:, None] & mask
    window = Window(
        returns_to_go=torch.from_numpy(returns_to_go),
        observations=torch.from_numpy(observations),
        actions=torch.from_numpy(_gather(data.actions, rows, mask)),
        rewards=torch.from_numpy(_gather(data.rewards, rows, mask)),
        timesteps=torch.from_numpy(np.where(present, timesteps, 0)),
        terminals=torch.from_numpy(ended),
        mask=torch.from_numpy(mask),
        present=torch.from_numpy(present),
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
    arrays = {name: getattr(data, name)[rows] for name in ("returns_to_go", "observations", "actions")}
    tensors = {name: torch.from_numpy(np.asarray(array, np.float32)) for name, array in arrays.items()}
    return Prompt(**tensors, timesteps=torch.from_numpy(timesteps))


def draw_batch(
    data: Trajectories,
    rng: np.random.Generator,
    batch: int,
    window_length: int,
    prompt_length: int,
    max_timesteps: int | None = None,
) -> Batch:
    """Draw windows, each with a prompt from a random trajectory of the same task that is long enough for one.

    ``data`` is sorted by task. With a prompt length of 0 there are no prompts.
    """
    window, which = draw_windows(data, rng, batch, window_length, max_timesteps)
    if prompt_length == 0:
        return Batch(None, window)
    able = np.flatnonzero(data.length >= prompt_length)
    first = np.searchsorted(data.task[able], data.task[which], side="left")
    last = np.searchsorted(data.task[able], data.task[which], side="right")
    if (first == last).any():
        task = int(data.task[which][first == last][0])
        raise UserError(f"no trajectory of task {task} has the {prompt_length} steps that a prompt needs")
    return Batch(draw_prompts(data, rng, able[rng.integers(first, last)], prompt_length), window)


def _gather(array: Array, rows: Array, mask: Array) -> Array:
    """Rows [B, K] of an array as float32, zero where the mask is."""
    values = np.asarray(array[rows], np.float32)
    values[~mask] = 0.0
    return values
