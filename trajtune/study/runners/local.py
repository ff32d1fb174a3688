"""Run the cells of a study in processes on this machine. What has a result is done: the same call goes on."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trajtune.processes import Outcome, Pool
from trajtune.progress import Progress, silent
from trajtune.study.declaration import Study
from trajtune.study.driving import drive
from trajtune.study.jobs import Job, do

ATTEMPTS = 3
"""How often a run is begun that raises or takes its worker with it."""


def run_study(study: Study, folder: Path | str, workers: int = 0, progress: Progress = silent) -> None:
    """Run every cell of ``study`` on every task that has no result in ``folder`` yet; see ``driving.drive``.

    Results do not depend on ``workers``: that many processes of one thread, where one that dies is replaced, or, with
    0, none but this one. A script that asks for workers needs ``if __name__ == "__main__":``.
    """
    drive(study, Path(folder), lambda jobs: _outcomes(apart(jobs, workers), workers), progress)


def apart(jobs: Sequence[Any], workers: int) -> list[Any]:
    """Deal jobs so that workers have different few-shot sets at a time: who comes second finds the critics warm."""
    groups = [list(group) for _, group in itertools.groupby(jobs, lambda job: job.run.few_shot)]
    found: list[Any] = []
    for first in range(0, len(groups), max(1, workers)):
        rows = itertools.zip_longest(*groups[first : first + max(1, workers)])
        found += [job for row in rows for job in row if job is not None]
    return found


def _outcomes(jobs: list[Job], workers: int) -> Iterator[tuple[Job, Outcome]]:
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
