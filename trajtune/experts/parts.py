"""What a collection has before it is a dataset: the episodes of one task and quality, and what is known of them.

Episodes lie in files of at most ``CHUNK``, so that a part of any size takes the same memory. The JSON of a part is
written last: without it the part is not finished.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from trajtune.experts.recording import Episode
from trajtune.files import read_arrays, read_json, write_arrays, write_json
from trajtune.suites.base import Array

WHAT = "collected part"
FLAT = ("observations", "actions", "rewards", "achieved")


def part_path(folder: Path, task: int, quality: str) -> Path:
    """Return the JSON of a part; its arrays lie beside it."""
    return folder / f"{task:03d}-{quality}.json"


def write_part(path: Path, chunks: Iterable[list[Episode]], policy: str) -> None:
    """Write episodes as they come, and what acted in them."""
    returns: list[float] = []
    success: list[bool | None] = []
    files: list[str] = []
    width: set[int] = set()
    for episodes in chunks:
        files.append(f"{path.stem}-{len(files):04d}.safetensors")
        arrays = _arrays(episodes)
        write_arrays(path.parent / files[-1], arrays)
        returns += [e.episode_return for e in episodes]
        success += [e.success for e in episodes]
        width.add(arrays["achieved"].shape[1] if "achieved" in arrays else 0)
    about: dict[str, Any] = {"policy": policy, "mean_return": float(np.mean(returns))}
    told = [each for each in success if each is not None]
    if len(told) == len(success):
        about["success"] = float(np.mean(told))
    write_json(path, {"source": about, "files": files, "achieved": width.pop() if len(width) == 1 else 0})


def _arrays(episodes: list[Episode]) -> dict[str, Array]:
    arrays = {
        "observations": np.concatenate([e.observations for e in episodes]).astype(np.float32),
        "actions": np.concatenate([e.actions for e in episodes]).astype(np.float32),
        "rewards": np.concatenate([e.rewards for e in episodes]).astype(np.float32),
        "length": np.array([len(e.rewards) for e in episodes]),
        "final_observations": np.stack([e.final_observation for e in episodes]).astype(np.float32),
        "terminated": np.array([e.terminated for e in episodes]),
        "seed": np.array([e.seed for e in episodes]),
    }
    achieved = [e.achieved for e in episodes if e.achieved is not None]
    if len(achieved) == len(episodes):
        arrays["achieved"] = np.concatenate(achieved).astype(np.float32)
    return arrays


def read_about(path: Path) -> dict[str, Any]:
    """Return what is known of a part: policy, mean return, success."""
    return dict(read_json(path, WHAT)["source"])


def achieved_width(paths: list[Path]) -> int:
    """Return the size of what was achieved, 0 unless all parts hold it in the same size."""
    widths = {int(read_json(path, WHAT)["achieved"]) for path in paths}
    return widths.pop() if len(widths) == 1 else 0


def read_part(path: Path) -> Iterator[dict[str, Array]]:
    """Yield the arrays of one episode after the other."""
    for file in read_json(path, WHAT)["files"]:
        part = read_arrays(path.parent / file, WHAT)
        flat = [name for name in FLAT if name in part]
        ends = np.cumsum(part["length"])
        for i, (end, length) in enumerate(zip(ends, part["length"], strict=True)):
            rows = slice(end - length, end)
            once = {name: part[name][i] for name in ("final_observations", "terminated", "seed")}
            yield {**{name: part[name][rows] for name in flat}, **once}
