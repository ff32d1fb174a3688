"""SAC actors of the point suite, written down instead of trained: they step towards the goal they see."""

from pathlib import Path

import numpy as np

from trajtune.files import write_arrays


def write_actor(path: Path, gain: float, log_std: float = -20.0, dtype: type = np.float32) -> None:
    """Write an actor whose mean is tanh(gain * (goal - position)); it sees (position [2], goal [2])."""
    difference = np.array([[-1.0, 0.0], [0.0, -1.0], [1.0, 0.0], [0.0, 1.0]])
    signs = np.concatenate([difference, -difference], axis=1)  # [4, 4]: relu(x) - relu(-x) is x
    sums = np.concatenate([np.eye(2), -np.eye(2)])
    layers = [
        (signs, np.zeros(4)),
        (np.eye(4), np.zeros(4)),
        (gain * sums, np.zeros(2)),
        (0 * sums, np.full(2, log_std)),
    ]
    arrays = {}
    for i, (kernel, bias) in enumerate(layers):
        arrays[f"Dense_{i}.kernel"], arrays[f"Dense_{i}.bias"] = kernel.astype(dtype), bias.astype(dtype)
    write_arrays(path, arrays)


def write_training(folder: Path) -> None:
    """Leave what a training of 500 updates leaves: actors that become better."""
    for updates, gain in ((100, 0.05), (200, 0.15), (300, 0.3), (400, 0.6), (500, 10.0)):
        write_actor(folder / f"actor-{updates:09d}.safetensors", gain)
