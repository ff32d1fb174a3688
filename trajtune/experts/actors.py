"""Policies that act for n episodes in step: a SAC actor read from its checkpoint, uniform noise, a blend of two."""

from pathlib import Path

import numpy as np

from trajtune.errors import UserError
from trajtune.files import read_arrays
from trajtune.suites.base import Act, Acting, Array


def sac_actor(path: Path, goal: tuple[float, ...]) -> Acting:
    """Read an actor that ``train_expert`` saved: two hidden layers, ReLU, a squashed Gaussian.

    It sees ``goal`` behind the observation. Acts by sampling, with the noise handed in, as SAC does when it collects;
    zero noise gives its mean. Weights may be stored in half precision; all arithmetic is done in single.
    """
    arrays = {name: array.astype(np.float32) for name, array in read_arrays(path, "expert").items()}
    try:
        layers = [(arrays[f"Dense_{i}.kernel"], arrays[f"Dense_{i}.bias"]) for i in range(4)]
    except KeyError as error:
        raise UserError(f"{path} is not an actor ({error} is missing)") from None

    def act(observations: Array, noise: Array) -> Array:
        goals = np.tile(np.asarray(goal), (len(observations), 1))
        x = np.concatenate([observations, goals], axis=1).astype(np.float32)
        for weight, bias in layers[:2]:
            x = np.maximum(x @ weight + bias, 0.0)
        mean, log_std = (x @ weight + bias for weight, bias in layers[2:])
        return np.tanh(mean + np.exp(np.clip(log_std, -20.0, 2.0)) * noise)

    return lambda n: act


def random_actor(n: int) -> Act:
    """Uniform actions, obtained from the normal noise through its distribution function."""
    from scipy.special import ndtr

    return lambda observations, noise: (2.0 * ndtr(noise) - 1.0).astype(np.float32)


def blend(first: Acting, second: Acting, share: float) -> Acting:
    """Mix the actions of two policies, ``share`` of the second. Both see every step, so both keep their state."""

    def begin(n: int) -> Act:
        one, two = first(n), second(n)
        return lambda observations, noise: (1.0 - share) * one(observations, noise) + share * two(observations, noise)

    return begin
