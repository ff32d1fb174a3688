"""The agents and datasets a study works with: what their headers say, and opened once a process."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from trajtune.artifacts import AGENT, DATASET, read_header
from trajtune.data.store import Dataset
from trajtune.errors import UserError
from trajtune.experts.collect import check, collect
from trajtune.experts.config import CollectConfig
from trajtune.leases import held
from trajtune.processes import count_workers
from trajtune.progress import Progress
from trajtune.shipped import shipped
from trajtune.study.declaration import FilledSource, Study
from trajtune.suites import get_suite

if TYPE_CHECKING:
    from trajtune.agents.saving import SavedAgent


@lru_cache(maxsize=4)
def agent_of(folder: Path) -> "SavedAgent":
    """Load an agent."""
    from trajtune.agents.saving import load_agent

    return load_agent(shipped(str(folder)))


@lru_cache(maxsize=4)
def dataset_of(folder: Path) -> Dataset:
    """Open a dataset, checksums compared."""
    return Dataset.open(shipped(str(folder)))


def forget() -> None:
    """Open everything anew: folders may have changed since an earlier study in this process."""
    agent_of.cache_clear()
    dataset_of.cache_clear()


def record(study: Study, progress: Progress) -> None:
    """Have the suites' own experts record the data of suites that name none, as ``trajtune collect`` does it.

    What one of them lacks, such as a package, is found before any of them records.
    """
    missing = {}
    for name, source in study.suites.items():
        suite, folder = source.suite_under(name), source.of(name, study.tasks).data
        if source.data is None and not (folder / DATASET.header).exists():
            tasks = get_suite(suite).select(folder.name.removeprefix(f"{suite}-"))
            missing[folder] = CollectConfig(suite, tuple(tasks))
    for config in missing.values():
        check(config)
    for folder, config in missing.items():
        with held(folder.with_name(f".{folder.name}.lease")):  # another study may want the same
            if not (folder / DATASET.header).exists():
                collect(config, folder, count_workers(0), progress)


def agent_digest(suite: str, source: FilledSource) -> str:
    """Return which agent it is, from its header alone; a ``UserError`` if it is another suite's."""
    header = read_header(source.found().agent, AGENT)
    _same(source.agent, header.get("suite") or suite, suite)
    return str(header["identity"])


def check_data(suite: str, source: FilledSource, quality: str | None, trajectories: int, tasks: Sequence[int]) -> None:
    """Find out now, not after hours, that the data is another suite's or that trajectories are missing."""
    dataset = dataset_of(source.data)
    _same(source.data, dataset.suite, suite)
    get_suite(suite).check_versions(dataset.metadata.get("versions", {}), source.data)
    for task in tasks:
        dataset.select([task], quality, trajectories, 0)


def _same(path: Path, found: str, suite: str) -> None:
    if found != suite:
        raise UserError(f"{path} is of suite {found}, the study names it for {suite}")
