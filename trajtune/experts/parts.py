"""What a collection has before it is a dataset: the episodes of one task and quality, a file each, and what is known.

The JSON of a part is written last: without it the part is not finished.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from trajtune.experts.recording import Episode, mean_return
from trajtune.files import read_arrays, read_json, write_arrays, write_json
from trajtune.suites.base import Array

WHAT = "collected part"


def part_path(folder: Path, task: int, quality: str) -> Path:
    """Return where the arrays of a part are; its JSON lies beside it."""
    return folder / f"{task:03d}-{quality}.safetensors"


def part_is_finished(path: Path) -> bool:
    """Tell whether a part is there, whole."""
    return path.with_suffix(".json").exists()


def write_part(path: Path, episodes: list[Episode], policy: str, references: dict[str, float]) -> None:
    """Write episodes, what acted in them, and the reference returns of their task."""
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
    write_arrays(path, arrays)
    about: dict[str, Any] = {"policy": policy, "mean_return": mean_return(episodes)}
    success = [e.success for e in episodes if e.success is not None]
    if len(success) == len(episodes):
        about["success"] = float(np.mean(success))
    write_json(path.with_suffix(".json"), {"source": about, "references": references})


def read_about(path: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """Return what is known of a part (policy, mean return, success), and the reference returns of its task."""
    about = read_json(path.with_suffix(".json"), WHAT)
    return about["source"], about["references"]


def achieved_width(paths: list[Path]) -> int:
    """Return the size of what was achieved, 0 unless all parts hold it in the same size."""
    widths = {part["achieved"].shape[1] if "achieved" in part else 0 for part in (read_arrays(p, WHAT) for p in paths)}
    return widths.pop() if len(widths) == 1 else 0


def read_episodes(path: Path) -> Iterator[dict[str, Array]]:
    """Yield the arrays of one episode after the other."""
    part = read_arrays(path, WHAT)
    flat = [name for name in ("observations", "actions", "rewards", "achieved") if name in part]
    ends = np.cumsum(part["length"])
    for i, (end, length) in enumerate(zip(ends, part["length"], strict=True)):
        rows = slice(end - length, end)
        once = {name: part[name][i] for name in ("final_observations", "terminated", "seed")}
        yield {**{name: part[name][rows] for name in flat}, **once}
