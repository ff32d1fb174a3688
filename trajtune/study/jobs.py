"""The runs that a study asks for: which there are, which are done, and how one is done, by whoever is asked."""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from trajtune.artifacts import DELTA, plain
from trajtune.errors import UserError, first_line
from trajtune.files import differing, remove_leftovers
from trajtune.leases import lease
from trajtune.processes import WorkerDiedError
from trajtune.study.cell import Cell, Run, settled
from trajtune.study.declaration import FilledSource, Study
from trajtune.study.results import Result, read_result, write_result
from trajtune.study.sources import agent_digest, agent_of, check_data, dataset_of
from trajtune.suites import get_suite

CRITICS, LEASES = "critics", "leases"
"""Where, in the folder of a study that is under way, warm-ups of critics are shared, and who does what is written."""


@dataclass(frozen=True)
class Job:
    """One cell on one task: all that a worker needs."""

    source: FilledSource
    cell: Cell
    run: Run
    path: Path
    """Of its result."""
    delta: Path | None
    lease: Path
    critics: Path
    device: str
    """``cpu``, or ``cuda``: one of those that there are."""
    since: float
    """When the call began that wants it done, by the disk's clock: a failure since then is not tried again by it."""


def jobs_of(study: Study, folder: Path, device: str = "cpu", since: float = 0.0) -> Iterator[Job]:
    """Every cell of a setting on a task before the next task: what is unfinished compares all cells on some tasks."""
    cells = list(study.cells())
    for name, declared in study.suites.items():
        source = declared.of(name, study.tasks)
        suite = declared.suite_under(name)
        tasks = get_suite(suite).select(study.tasks)
        agent = agent_digest(suite, source)
        for setting in dict.fromkeys(cell.setting.data for cell in cells if cell.group == name):
            check_data(suite, source, setting.quality, setting.trajectories, tasks)
            data = dataset_of(source.data).identity()
            own = [cell for cell in cells if (cell.group, cell.setting.data) == (name, setting)]
            recipes = [settled(cell.resolved(), study.evaluation, device) for cell in own]
            for task in tasks:
                for cell, (recipe, evaluation) in zip(own, recipes, strict=True):
                    run = Run(suite, task, cell.setting, cell.seed, recipe, agent, data, evaluation)
                    path = folder / cell.place(task)
                    delta = path.with_suffix("") if study.deltas else None
                    held = (folder / LEASES / cell.place(task)).with_suffix("")
                    yield Job(source, cell, run, path, delta, held, folder / CRITICS, device, since)


def done(job: Job) -> bool:
    """Whether it has a result; that of another run in its place is a ``UserError``."""
    if not job.path.exists():
        return False
    result = read_result(job.path)
    if odd := differing(plain(asdict(result.run)), plain(asdict(job.run))):
        raise UserError(f"{job.path} is of another {', '.join(odd)}: choose another folder, or move it away")
    if job.delta is not None and job.run.recipe is not None and result.scored:
        return (job.delta / DELTA.header).exists()  # deltas may have been asked for later
    return result.failed is None


def accounted(job: Job) -> bool:
    """Whether it is done, or has failed since the call began."""
    if done(job):
        return True
    failed_lately = job.path.exists() and job.path.stat().st_mtime >= job.since
    return failed_lately and read_result(job.path).failed is not None


def do(job: Job) -> Result | None:
    """Run it and write its result; None if somebody else is at it."""
    with lease(job.lease) as mine:
        if not mine:
            return None
        if job.path.parent.is_dir():
            remove_leftovers(job.path)  # of a run killed while it wrote this file
        if accounted(job):  # by another, in the meantime
            return read_result(job.path)
        result = _do(job)
        write_result(job.path, result)
        return result


def _do(job: Job) -> Result:
    """Finetune and evaluate one cell on one task."""
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
                device=_device(job.device),
                delta=None if run.recipe is None else job.delta,
            )
    finally:
        torch.set_num_threads(threads)
    assert result.run == run, "a run's identity is known before it is run"
    return replace(result, entry=job.cell.entry)


def _device(name: str) -> str:
    """Spread the workers of a machine over its devices, each of them for good."""
    import torch

    return f"{name}:{os.getpid() % torch.cuda.device_count()}" if name == "cuda" else name


def give_up(job: Job, error: Exception) -> None:
    """Write down that a run could not be done, and why; unless somebody else is at it, who will see."""
    with lease(job.lease) as mine:
        if mine:
            write_result(job.path, _failed(job, error))


def _failed(job: Job, error: Exception) -> Result:
    suite = get_suite(job.run.suite)
    known = isinstance(error, UserError | WorkerDiedError)
    reason = first_line(error) if known else f"{type(error).__name__}: {first_line(error)}"
    name = suite.task(job.run.task).name
    return Result(job.run, job.cell.label, name, suite.metric, failed=reason, entry=job.cell.entry)
