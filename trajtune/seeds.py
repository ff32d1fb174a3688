"""Where all randomness comes from: named streams. No other module makes a generator.

A stream is named by a seed and by words and numbers that say what it is for: ``stream(0, "few-shot", task)``. Two
streams of different names share no bits, whatever the numbers: ``[seed, task]`` once drew both a few-shot set and the
prompts from it. The name goes through SHA-256, so that neither Python's nor NumPy's way of hashing decides a result.
"""

import hashlib
import json
import operator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

LIMIT = 2**32
"""Seeds are whole numbers from 0 to below this."""


def stream(seed: int, *name: str | int) -> np.random.Generator:
    """Return a fresh generator of the stream of that name: the same bits every time it is asked for."""
    return np.random.default_rng(np.frombuffer(_digest(seed, name), np.uint32))


def number(seed: int, *name: str | int) -> int:
    """Return one number in [0, 2^63) of that name: a seed for what does not take a NumPy generator."""
    return int.from_bytes(_digest(seed, name)[:8], "little") >> 1


def torch_stream(seed: int, *name: str | int) -> "torch.Generator":
    """Return a fresh PyTorch generator on the CPU of the stream of that name."""
    import torch

    return torch.Generator().manual_seed(number(seed, *name))


def _digest(seed: int, name: tuple[str | int, ...]) -> bytes:
    # A bool or a NumPy integer must not make another name than the number it equals; a fraction is no number here.
    words = [each if isinstance(each, str) else operator.index(each) for each in (seed, *name)]
    return hashlib.sha256(json.dumps(words).encode()).digest()
