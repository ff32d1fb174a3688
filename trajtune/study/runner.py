"""Run the cells of a study in local processes. What has a result file is done: the same call goes on from there."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trajtune.algorithms import resolve_algorithm
from trajtune.errors import DivergedError, UserError
from trajtune.files import remove_leftovers, write_json
from trajtune.policy import Plain
from trajtune.processes import worker_pool
from trajtune.rollout import evaluate_plain
from trajtune.study.grid import Cell, Study
from trajtune.study.results import STUDY, UNTUNED, Result, differences, read_result, write_result
from trajtune.study.sources import agent_of, check_data, dataset_of, digests, forget
from trajtune.suites import get_suite
from trajtune.training import TrainConfig, few_shot, finetune
from trajtune.training.finetune import resolve_training
from trajtune.training.precision import compute_dtype
from trajtune.tunings import resolve_tuning

CPU = torch.device("cpu")


@dataclass(frozen=True)
class _Job:
    """One cell on one task."""

    cell: Cell
    task: int
    study: Study
    run: dict[str, Any]
    path: Path

    @property
    def identity(self) -> dict[str, Any]:
        """The fields of its result that say which it is."""
        cell, setting = self.cell, self.cell.setting
        names = {"suite": cell.suite, "algorithm": cell.algorithm, "tuning": cell.tuning, "label": cell.method.label}
        return {**names, **asdict(setting), "seed": cell.seed, "task": self.task}


def run_study(
    study: Study, folder: Path | str, workers: int = 1, progress: Callable[[str, int, int], None] = lambda *a: None
) -> None:
    """Run every cell of ``study`` on every task that has no result in ``folder`` yet.

    A result of another agent, other data or other options there is a ``UserError``. A run that diverges is a result
    too: the study goes on. Results do not depend on ``workers``. More than one are started by spawning: a script that
    calls this needs ``if __name__ == "__main__":``.
    """
    folder = Path(folder)
    study.check()
    forget()
    if folder.is_dir():
        remove_leftovers(folder / STUDY)
    if folder.exists() and not (folder / STUDY).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} already holds something else: choose another folder")
    jobs = list(_jobs(study, folder))
    missing = [job for job in jobs if not _done(job)]
    write_json(folder / STUDY, study.to_json())
    done = len(jobs) - len(missing)
    progress("cells x tasks", done, len(jobs))
    with worker_pool(min(workers, len(missing))) as run:
        for _ in run(_one, missing):
            done += 1
            progress("cells x tasks", done, len(jobs))


def _jobs(study: Study, folder: Path) -> Iterator[_Job]:
    """Every cell on a task before the next task, so that an unfinished study compares all cells on some tasks."""
    cells = list(study.cells())
    for name, source in study.suites.items():
        found = digests(source)
        tasks = get_suite(name).select(study.tasks)
        for setting in study.settings:
            check_data(name, source, setting.quality, setting.trajectories, tasks)
            own = [cell for cell in cells if (cell.suite, cell.setting) == (name, setting)]
            runs = [{**found, **_options(study, cell)} for cell in own]
            for task in tasks:
                for cell, run in zip(own, runs, strict=True):
                    yield _Job(cell, task, study, run, folder / cell.folder / f"task-{task}.json")


def _options(study: Study, cell: Cell) -> dict[str, Any]:
    """What decides a cell's numbers beside its name, its agent and its data; all defaults are written out.

    What zero-shot has here, every cell compared with it must have too.
    """
    training = _training(study, cell)
    evaluation = {"episodes": study.episodes, "precision": training.precision}
    if cell.tuning == UNTUNED:
        return evaluation
    method = cell.method
    return {
        **evaluation,
        "std": method.std,
        "options": resolve_algorithm(cell.algorithm, method.options),
        "tuning_options": resolve_tuning(cell.tuning, method.tuning_options),
        "training": {k: v for k, v in asdict(training).items() if k != "checkpoint_every"},
    }


def _training(study: Study, cell: Cell) -> TrainConfig:
    """The cell's own training, with nothing left to be decided by the machine or the tuning."""
    given = study.training
    rate = given.learning_rate if cell.method.learning_rate is None else cell.method.learning_rate
    precision = "bf16" if compute_dtype(given.precision, CPU) == torch.bfloat16 else "fp32"
    own = replace(given, seed=cell.seed, learning_rate=rate, precision=precision)  # type: ignore[arg-type]
    return resolve_training(own, cell.tuning)


def _done(job: _Job) -> bool:
    if job.path.parent.is_dir():
        remove_leftovers(job.path)  # of a run killed while it wrote this file
    if not job.path.exists():
        return False
    if odd := differences(read_result(job.path), job.identity, job.run):
        raise UserError(f"{job.path} is of another {', '.join(odd)}: choose another folder, or move it away")
    return True


def _one(job: _Job) -> None:
    """Finetune and evaluate one cell on one task, in a worker, and write its result."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        write_result(job.path, _result(job))
    finally:
        torch.set_num_threads(threads)


def _result(job: _Job) -> Result:
    cell, study, source = job.cell, job.study, job.study.suites[job.cell.suite]
    setting, method, suite, training = cell.setting, cell.method, get_suite(cell.suite), _training(study, cell)
    if any(job.run[name] != digest for name, digest in digests(source).items()):
        raise UserError(f"{source.agent} or {source.data} changed while the study ran: start it again")
    base = agent_of(source.agent)
    shots = setting.quality, setting.trajectories, cell.seed, base.agent.config.prompt, setting.reward
    data = few_shot(dataset_of(source.data), job.task, *shots)
    diverged, metrics, scores, plain = None, {}, [], Plain(base.agent)
    began = time.perf_counter()
    try:
        if cell.tuning != UNTUNED:
            options = {"algorithm_options": method.options, "tuning_options": method.tuning_options, "std": method.std}
            tuned = finetune(base, data, cell.algorithm, cell.tuning, training, **options)  # type: ignore[arg-type]
            plain, metrics = tuned.plain(), tuned.log[-1]
        middle = time.perf_counter()
        # The same episode seeds and the same prompts to draw from in every cell of a task and seed: paired.
        prompts = {job.task: data.prompts}
        scores = evaluate_plain(plain, suite, prompts, study.episodes, precision=training.precision)
        if not np.isfinite(scores[0].returns).all():
            diverged, scores = f"{cell.algorithm} x {cell.tuning}: a return is not finite", []
    except DivergedError as error:
        middle, diverged = time.perf_counter(), str(error)
    return Result(
        **job.identity,
        name=suite.task(job.task).name,
        run=job.run,
        returns=tuple(scores[0].returns) if scores else (),
        mean_return=scores[0].mean_return if scores else None,
        normalised=scores[0].normalised if scores else None,
        references=data.prompts.references,
        target_return=data.prompts.target_return,
        finetune_seconds=round(middle - began, 2),
        evaluate_seconds=round(time.perf_counter() - middle, 2),
        metrics={name: float(value) for name, value in metrics.items()},
        diverged=diverged,
    )
