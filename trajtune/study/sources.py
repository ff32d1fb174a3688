"""The agents and datasets a study works with, opened once a process."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from trajtune.agents import SavedAgent, load_agent
from trajtune.data import Dataset
from trajtune.errors import UserError
from trajtune.study.grid import Source


@lru_cache(maxsize=4)
def agent_of(folder: Path) -> SavedAgent:
    """Load an agent."""
    return load_agent(folder)


@lru_cache(maxsize=4)
def dataset_of(folder: Path) -> Dataset:
    """Open a dataset, checksums compared."""
    return Dataset.open(folder)


def forget() -> None:
    """Open everything anew: folders may have changed since an earlier study in this process."""
    agent_of.cache_clear()
    dataset_of.cache_clear()


def digests(source: Source) -> dict[str, str]:
    """Say which agent and which data these are, reference returns included."""
    meta = dataset_of(source.data).metadata
    about = {"files": {name: entry["sha256"] for name, entry in meta["files"].items()}, "to": meta.get("references")}
    data = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    return {"agent": agent_of(source.agent).digest, "data": data}


def check_data(suite: str, source: Source, quality: str, trajectories: int, tasks: list[int]) -> None:
    """Find out now, not after hours, that agent or data are another suite's or that trajectories are missing."""
    dataset = dataset_of(source.data)
    for path, found in (
        (source.agent, agent_of(source.agent).provenance.get("suite", suite)),
        (source.data, dataset.suite),
    ):
        if found != suite:
            raise UserError(f"{path} is of suite {found}, the study names it for {suite}")
    for task in tasks:
        dataset.select([task], quality, trajectories, 0)
