"""What drives a study, wherever its runs are done: what has a result is done, what others are at is left to them."""

import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from trajtune.artifacts import STUDY, finish, plain, read_header
from trajtune.configs import structured
from trajtune.errors import UserError
from trajtune.files import remove_leftovers
from trajtune.leases import PROBE, WAIT, held, holder, now_on
from trajtune.processes import Outcome
from trajtune.progress import Progress, silent
from trajtune.study.choosing import SELECTION
from trajtune.study.declaration import Study
from trajtune.study.jobs import CRITICS, LEASES, Job, accounted, done, give_up, jobs_of
from trajtune.study.sources import forget, record

STAGE = "cells x tasks"

Runner = Callable[[list[Job]], Iterable[tuple[Job, Outcome]]]
"""Has ``jobs.do`` done for every job, somewhere, and tells what became of each in any order. Its value is None where
another driver is at it; what raises or dies is tried again a few times before it is an error."""


def drive(
    study: Study,
    folder: Path,
    runner: Runner,
    progress: Progress = silent,
    device: str = "cpu",
    since: float | None = None,
) -> None:
    """Have every run of ``study`` done that has no result in ``folder`` yet.

    Any number of drivers may share a folder, at once and on several machines: each run is leased by who does it, and
    all of them return when all is done. A result of another agent, other data or other options is a ``UserError``. A
    run that diverges or fails is a result too; one that failed before ``since`` (now) is tried again.
    """
    jobs, missing = prepare(study, folder, progress, device, since)
    while missing := [job for job in missing if not accounted(job)]:
        count = len(jobs) - len(missing)
        progress(STAGE, count, len(jobs))
        if not (free := [job for job in missing if holder(job.lease) is None]):
            time.sleep(WAIT)
        for job, outcome in runner(free) if free else ():
            if outcome.error is not None:
                give_up(job, outcome.error)
            elif outcome.value is None:
                continue
            progress(STAGE, count := count + 1, len(jobs))
    progress(STAGE, len(jobs), len(jobs))
    for name in (CRITICS, LEASES):
        shutil.rmtree(folder / name, ignore_errors=True)  # all have what they wanted of it


def prepare(
    study: Study, folder: Path, progress: Progress = silent, device: str = "cpu", since: float | None = None
) -> tuple[list[Job], list[Job]]:
    """Return all jobs of a study and those without a result, once the folder is known to be its own and says so.

    What a suite without data needs is recorded first.
    """
    study.check()
    forget()
    _check_folder(folder)
    record(study, progress)
    jobs = list(jobs_of(study, folder, device, now_on(folder) if since is None else since))
    missing = [job for job in jobs if not done(job)]
    _write_header(folder, study)
    return jobs, missing


def declared_in(folder: Path) -> Study:
    """Return the study that a folder is of; a ``UserError`` if it is none's."""
    declared = read_header(folder, STUDY).get("study")
    try:
        study: Study = structured(Study, declared, "study")
        study.check()
    except UserError as error:
        raise UserError(f"{folder / STUDY.header}: {error}") from None
    return study


def _check_folder(folder: Path) -> None:
    if (folder / STUDY.header).exists():
        read_header(folder, STUDY)
        return
    names = [each.name for each in folder.iterdir()] if folder.is_dir() else [folder.name] * folder.exists()
    # What a selection leaves, and drivers that have not yet written the header, or were killed before they had.
    passing = f".{STUDY.header}.", PROBE
    if any(name not in (LEASES, SELECTION) and not name.startswith(passing) for name in names):
        raise UserError(f"{folder} already holds something else: choose another folder")


def _write_header(folder: Path, study: Study) -> None:
    """One driver at a time; none, if it says so already."""
    about = {"study": study.to_json()}
    with held(folder / LEASES / STUDY.name):
        remove_leftovers(folder / STUDY.header)
        there = (folder / STUDY.header).exists()
        if not there or read_header(folder, STUDY).get("study") != plain(about)["study"]:
            finish(folder, STUDY, about)
