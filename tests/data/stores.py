"""Small datasets for the tests of the store, and ways to damage them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trajtune.artifacts import signature
from trajtune.data.store import FLAT, METADATA, Dataset
from trajtune.data.writer import DatasetWriter
from trajtune.errors import UserError

S, A, D = 3, 2, 4
ABOUT = {"suite": "point", "qualities": ["expert", "medium"]}
REFERENCES = {"3": {"random": -30.0, "expert": -3.0}}
Rows = dict[str, np.ndarray]


def steps(seed: int, length: int = 4, achieved: bool = False) -> Rows:
    rng = np.random.default_rng(seed)
    shapes = {"observations": (length, S), "actions": (length, A), "rewards": (length,), "final_observation": (S,)}
    if achieved:
        shapes["achieved"] = (length, D)
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


def trajectories(achieved: bool = False) -> list[tuple[Rows, dict[str, Any]]]:
    """Tasks 5, 3, 7 in this order, two qualities, three of each; lengths 2 to 5."""
    return [
        (
            steps(100 * task + 10 * quality + i, 2 + (task + quality + i) % 4, achieved),
            {"task": task, "quality": quality, "seed": 1000 * task + i, "terminated": i == 1},
        )
        for task in (5, 3, 7)
        for quality in (0, 1)
        for i in range(3)
    ]


def write(folder: Path, dtype: str = "float32", achieved: bool = False) -> Dataset:
    writer = DatasetWriter(folder, S, A, dtype, D if achieved else 0)
    for rows, about in trajectories(achieved):
        writer.add(**rows, **about)
    return writer.finish({**ABOUT, "references": REFERENCES})


class Payload:
    """Unpickling this creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def flipped(path: Path, proof: Path | None = None) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0x80  # in JSON: no longer UTF-8
    path.write_bytes(raw)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def resign(folder: Path, header: dict[str, Any]) -> None:
    """Write a header with the digest that it should have, as somebody who means harm would."""
    header.pop("digest", None)
    (folder / METADATA).write_text(json.dumps({**header, "digest": signature(header)}))


def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the header in place and sign it again."""
    header = json.loads((folder / METADATA).read_text())
    change(header)
    resign(folder, header)


def sign(folder: Path) -> None:
    """Make sizes and checksums those of the files as they are now, and sign the header again."""

    def entries(header: dict[str, Any]) -> None:
        for name in header["files"]:
            raw = (folder / name).read_bytes()
            header["files"][name] = {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}

    edit(folder, entries)


def refused(folder: Path, name: str, verify: bool = True) -> str:
    """Opening fails with one line that names the file; return it."""
    with pytest.raises(UserError) as caught:
        Dataset.open(folder, verify)
    message = str(caught.value)
    assert name in message and "\n" not in message
    return message


def outcome(folder: Path, verify: bool = True) -> Dataset | None:
    """Whatever the damage: a dataset or one line, and nothing else."""
    try:
        return Dataset.open(folder, verify)
    except UserError as error:
        one_line = "\n" not in str(error)
    assert one_line
    return None


def assert_same(opened: Dataset, original: Dataset) -> None:
    for name in (*FLAT, "start", "length", "task", "terminated", "final_observations"):
        np.testing.assert_array_equal(getattr(opened.trajectories, name), getattr(original.trajectories, name))
    for name in ("quality", "seeds"):
        np.testing.assert_array_equal(getattr(opened, name), getattr(original, name))
