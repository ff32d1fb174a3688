"""Runs in processes on this machine."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trajtune.compute.devices import pick_device
from trajtune.processes import Outcome, Pool
from trajtune.progress import Progress
from trajtune.study.declaration import Study
from trajtune.study.driving import drive
from trajtune.study.jobs import Job, do
from trajtune.study.runners.configs import ATTEMPTS, LocalConfig


def run_local(study: Study, folder: Path, workers: int, progress: Progress, config: LocalConfig) -> None:
    """Run a study in ``workers`` processes; with 0, in this one."""
    pick_device(config.device)  # it is told now if there is none
    drive(study, folder, lambda jobs: outcomes(apart(jobs, workers), workers), progress, config.device)


def apart(jobs: Sequence[Any], workers: int) -> list[Any]:
    """Deal jobs so that workers have different few-shot sets at a time: who comes second finds the critics warm."""
    groups = [list(group) for _, group in itertools.groupby(jobs, lambda job: job.run.few_shot)]
    found: list[Any] = []
    for first in range(0, len(groups), max(1, workers)):
        rows = itertools.zip_longest(*groups[first : first + max(1, workers)])
        found += [job for row in rows for job in row if job is not None]
    return found


def outcomes(jobs: list[Job], workers: int) -> Iterator[tuple[Job, Outcome]]:
    """Do jobs in so many processes, or in this one, and tell what became of each."""
    if workers > 0:
        with Pool(min(workers, len(jobs))) as pool:
            yield from ((jobs[outcome.job], outcome) for outcome in pool.outcomes(do, jobs, ATTEMPTS))
        return
    for number, job in enumerate(jobs):
        try:
            outcome = Outcome(number, do(job), None)
        except Exception as error:  # the same as in a worker, but that trying again would only repeat it
            outcome = Outcome(number, None, error)
        yield job, outcome
