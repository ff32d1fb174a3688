"""Run the cells of a study in processes on this machine. What has a result is done: the same call goes on."""

import itertools
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trajtune.artifacts import DELTA, STUDY, finish, plain, read_header
from trajtune.errors import UserError, first_line
from trajtune.files import differing, remove_leftovers
from trajtune.processes import Outcome, Pool, WorkerDiedError
from trajtune.progress import Progress, silent
from trajtune.study.cell import Cell, Run, settled
from trajtune.study.declaration import Source, Study
from trajtune.study.results import Result, read_result, write_result
from trajtune.study.sources import agent_digest, agent_of, check_data, dataset_of, forget
from trajtune.suites import get_suite

ATTEMPTS = 3
"""How often a run is begun that raises or takes its worker with it."""
CRITICS = "critics"
"""Where cells of a study that is under way share the warm-ups of their critics."""


@dataclass(frozen=True)
class _Job:
    """One cell on one task: all that a worker needs."""

    source: Source
    cell: Cell
    run: Run
    path: Path
    delta: Path | None
    critics: Path
    """Where warmed-up critics are shared."""


def run_study(study: Study, folder: Path | str, workers: int = 0, progress: Progress = silent) -> None:
    """Run every cell of ``study`` on every task that has no result in ``folder`` yet.

    A result of another agent, other data or other options there is a ``UserError``. A run that diverges or fails is a
    result too: the study goes on. One that failed is tried again by the next call. Results do not depend on
    ``workers``: that many processes of one thread, where one that dies is replaced, or, with 0, none but this one. A
    script that asks for workers needs ``if __name__ == "__main__":``.
    """
    folder = Path(folder)
    study.check()
    forget()
    if folder.is_dir():
        remove_leftovers(folder / STUDY.header)
    if (folder / STUDY.header).exists():
        read_header(folder, STUDY)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} already holds something else: choose another folder")
    jobs = list(_jobs(study, folder))
    missing = apart([job for job in jobs if not _done(job)], workers)
    folder.mkdir(parents=True, exist_ok=True)
    finish(folder, STUDY, {"study": study.to_json()})
    done = len(jobs) - len(missing)
    progress("cells x tasks", done, len(jobs))
    for outcome in _outcomes(missing, workers):
        job = missing[outcome.job]
        result = outcome.value if outcome.error is None else _failed(job, outcome.error)
        write_result(job.path, result)
        done += 1
        progress("cells x tasks", done, len(jobs))
    shutil.rmtree(folder / CRITICS, ignore_errors=True)  # all have what they wanted of it


def apart(jobs: Sequence[Any], workers: int) -> list[Any]:
    """Deal jobs so that workers have different few-shot sets at a time: who comes second finds the critics warm."""
    groups = [list(group) for _, group in itertools.groupby(jobs, lambda job: job.run.few_shot)]
    found: list[Any] = []
    for first in range(0, len(groups), max(1, workers)):
        rows = itertools.zip_longest(*groups[first : first + max(1, workers)])
        found += [job for row in rows for job in row if job is not None]
    return found


def _outcomes(jobs: list[_Job], workers: int) -> Iterator[Outcome]:
    if workers > 0 and jobs:
        with Pool(min(workers, len(jobs))) as pool:
            yield from pool.outcomes(_one, jobs, ATTEMPTS)
        return
    for number, job in enumerate(jobs):
        try:
            yield Outcome(number, _one(job), None)
        except Exception as error:  # the same as in a worker, but that trying again would only repeat it
            yield Outcome(number, None, error)


def _jobs(study: Study, folder: Path) -> Iterator[_Job]:
    """Every cell on a task before the next task, so that an unfinished study compares all cells on some tasks."""
    cells = list(study.cells())
    for name, source in study.suites.items():
        tasks = get_suite(name).select(study.tasks)
        agent = agent_digest(name, source)
        for setting in dict.fromkeys(cell.setting for cell in cells if cell.suite == name):
            check_data(name, source, setting.quality, setting.trajectories, tasks)
            data = dataset_of(source.data).identity()
            own = [cell for cell in cells if (cell.suite, cell.setting) == (name, setting)]
            recipes = [settled(cell.resolved(), study.evaluation) for cell in own]
            for task in tasks:
                for cell, (recipe, evaluation) in zip(own, recipes, strict=True):
                    run = Run(name, task, setting, cell.seed, recipe, agent, data, evaluation)
                    path = folder / cell.folder / f"task-{task}.json"
                    delta = path.with_suffix("") if study.deltas else None
                    yield _Job(source, cell, run, path, delta, folder / CRITICS)


def _done(job: _Job) -> bool:
    if job.path.parent.is_dir():
        remove_leftovers(job.path)  # of a run killed while it wrote this file
    if not job.path.exists():
        return False
    result = read_result(job.path)
    if odd := differing(plain(asdict(result.run)), plain(asdict(job.run))):
        raise UserError(f"{job.path} is of another {', '.join(odd)}: choose another folder, or move it away")
    if job.delta is not None and job.run.recipe is not None and result.scored:
        return (job.delta / DELTA.header).exists()  # deltas may have been asked for later
    return result.failed is None


def _one(job: _Job) -> Result:
    """Finetune and evaluate one cell on one task, in a worker."""
    import torch

    from trajtune.algorithms.warming import shared_in
    from trajtune.data.fewshot import few_shot
    from trajtune.study.run_cell import run_cell

    run, threads = job.run, torch.get_num_threads()
    base, dataset = agent_of(job.source.agent), dataset_of(job.source.data)
    if (base.digest, dataset.identity()) != (run.agent, run.data):
        raise UserError(f"{job.source.agent} or {job.source.data} changed while the study ran")
    torch.set_num_threads(1)
    try:
        few = few_shot(dataset, run.task, run.setting, run.seed, base.agent.spec.prompt)
        with shared_in(job.critics):
            result = run_cell(
                base,
                few,
                get_suite(run.suite),
                run.recipe,
                run.evaluation,
                data=run.data,
                label=job.cell.label,
                delta=None if run.recipe is None else job.delta,
            )
    finally:
        torch.set_num_threads(threads)
    assert result.run == run, "a run's identity is known before it is run"
    return result


def _failed(job: _Job, error: Exception) -> Result:
    """The result of a run that could not be done."""
    suite = get_suite(job.run.suite)
    plain = isinstance(error, UserError | WorkerDiedError)
    reason = first_line(error) if plain else f"{type(error).__name__}: {first_line(error)}"
    return Result(job.run, job.cell.label, suite.task(job.run.task).name, suite.metric, failed=reason)
