"""Policies that act to record data: a SAC actor read from its checkpoint, a script, and uniform noise."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from trajtune.errors import UserError
from trajtune.files import read_arrays
from trajtune.suites.base import Array, Suite

Acting = Callable[[Array, Array, Array], Array]
"""(observations [n, S], goals [n, G], noise [n, A] standard normal) -> actions [n, A] in [-1, 1]."""


def sac_actor(path: Path) -> Acting:
    """Read an actor that ``train_expert`` saved: two hidden layers, ReLU, a squashed Gaussian.

    Acts by sampling, with the noise handed in, as SAC does when it collects; zero noise gives its mean.
    """
    arrays = read_arrays(path, "expert")
    try:
        layers = [(arrays[f"Dense_{i}.kernel"], arrays[f"Dense_{i}.bias"]) for i in range(4)]
    except KeyError as error:
        raise UserError(f"{path} is not an actor ({error} is missing)") from None

    def act(observations: Array, goals: Array, noise: Array) -> Array:
        x = np.concatenate([observations, goals], axis=1).astype(np.float32)
        for weight, bias in layers[:2]:
            x = np.maximum(x @ weight + bias, 0.0)
        mean, log_std = (x @ weight + bias for weight, bias in layers[2:])
        return np.tanh(mean + np.exp(np.clip(log_std, -20.0, 2.0)) * noise)

    return act


def scripted_actor(suite: Suite, noise_scale: float) -> Acting:
    """Return the suite's closed-form expert with Gaussian noise on its actions."""
    script = suite.scripted
    if script is None:
        raise UserError(f"suite {suite.name} has no scripted expert")

    def act(observations: Array, goals: Array, noise: Array) -> Array:
        return np.clip(script(observations, goals) + noise_scale * noise, -1.0, 1.0).astype(np.float32)

    return act


def random_actor(observations: Array, goals: Array, noise: Array) -> Array:
    """Uniform actions, obtained from the normal noise through its distribution function."""
    from scipy.special import ndtr

    return (2.0 * ndtr(noise) - 1.0).astype(np.float32)
