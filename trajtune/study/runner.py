"""Run the cells of a study in local processes. What has a result file is done: the same call goes on from there."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from trajtune.algorithms import resolve_algorithm
from trajtune.errors import DivergedError, UserError
from trajtune.files import remove_leftovers, write_json
from trajtune.processes import worker_pool
from trajtune.study.grid import UNTUNED, Cell, Study
from trajtune.study.results import STUDY, Result, read_result, same_run, write_result
from trajtune.suites import get_suite
from trajtune.training import TrainConfig
from trajtune.training.finetune import resolve_training
from trajtune.tunings import resolve_tuning


@dataclass(frozen=True)
class _Job:
    """One cell on one task."""

    cell: Cell
    task: int
    study: Study
    run: dict[str, Any]
    path: Path


def run_study(
    study: Study, folder: Path, workers: int = 1, progress: Callable[[str, int, int], None] = lambda *a: None
) -> None:
    """Run every cell of ``study`` on every task that has no result in ``folder`` yet.

    A result of another agent, other data or other options there is a ``UserError``. A run that diverges is a result
    too: the study goes on. Results do not depend on ``workers``.
    """
    study.check()
    _agent.cache_clear()  # an earlier call in this process may have read folders that have changed since
    _dataset.cache_clear()
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
    digests = {name: _digests(source.agent, source.data) for name, source in study.suites.items()}
    cells = list(study.cells())
    groups = dict.fromkeys((cell.suite, cell.setting) for cell in cells)
    for suite, setting in groups:
        for task in get_suite(suite).select(study.tasks):
            for cell in cells:
                if (cell.suite, cell.setting) == (suite, setting):
                    run = {**digests[suite], **_options(study, cell)}
                    yield _Job(cell, task, study, run, folder / cell.folder / f"task-{task}.json")


def _options(study: Study, cell: Cell) -> dict[str, Any]:
    """What decides a cell's numbers beside its name, its agent and its data; all defaults are written out."""
    evaluation = {"episodes": study.episodes, "precision": study.training.precision}
    if cell.tuning == UNTUNED:
        return evaluation
    method = cell.method
    return {
        **evaluation,
        "std": method.std,
        "options": resolve_algorithm(cell.algorithm, method.options),
        "tuning_options": resolve_tuning(cell.tuning, method.tuning_options),
        "training": asdict(_training(study, cell)),
    }


def _training(study: Study, cell: Cell) -> TrainConfig:
    rate = study.training.learning_rate if cell.method.learning_rate is None else cell.method.learning_rate
    return resolve_training(replace(study.training, seed=cell.seed, learning_rate=rate), cell.tuning)


def _digests(agent: Path, data: Path) -> dict[str, str]:
    dataset, base = _dataset(data), _agent(agent)
    return {"agent": base.digest, "data": dataset.metadata["files"]["observations.npy"]["sha256"]}


@lru_cache(maxsize=4)
def _agent(folder: Path) -> Any:
    from trajtune.agents import load_agent

    return load_agent(folder)


@lru_cache(maxsize=4)
def _dataset(folder: Path) -> Any:
    from trajtune.data import Dataset

    return Dataset.open(folder)


def _done(job: _Job) -> bool:
    if job.path.parent.is_dir():
        remove_leftovers(job.path)  # of a run killed while it wrote this file
    if not job.path.exists():
        return False
    if odd := same_run(read_result(job.path), job.run):
        raise UserError(f"{job.path} is of another {', '.join(odd)}: choose another folder, or move it away")
    return True


def _one(job: _Job) -> None:
    """Finetune and evaluate one cell on one task, in a worker, and write its result."""
    import torch

    from trajtune.policy import Plain
    from trajtune.rollout import evaluate_plain
    from trajtune.training import few_shot, finetune

    torch.set_num_threads(1)
    cell, study = job.cell, job.study
    source, setting, method, suite = study.suites[cell.suite], cell.setting, cell.method, get_suite(cell.suite)
    base, dataset = _agent(source.agent), _dataset(source.data)
    length = base.agent.config.prompt
    data = few_shot(dataset, job.task, setting.quality, setting.trajectories, cell.seed, length, setting.reward)
    began = time.perf_counter()
    diverged, metrics = None, {}
    plain = Plain(base.agent)
    if cell.tuning != UNTUNED:
        try:
            tuned = finetune(
                base,
                data,
                cell.algorithm,
                cell.tuning,
                _training(study, cell),
                algorithm_options=method.options,
                tuning_options=method.tuning_options,
                std=method.std,
            )
            plain, metrics = tuned.plain(), tuned.log[-1]
        except DivergedError as error:
            diverged = str(error)
    middle = time.perf_counter()
    # Episodes and prompts are the same in every cell of a task, seed and setting: comparisons are paired.
    prompts, precision = {job.task: data.prompts}, study.training.precision
    scores = [] if diverged else evaluate_plain(plain, suite, prompts, study.episodes, precision=precision)
    result = Result(
        suite=cell.suite,
        quality=setting.quality,
        trajectories=setting.trajectories,
        reward=setting.reward,
        algorithm=cell.algorithm,
        tuning=cell.tuning,
        label=cell.label,
        seed=cell.seed,
        task=job.task,
        name=suite.task(job.task).name,
        run=job.run,
        returns=tuple(scores[0].returns) if scores else (),
        mean_return=scores[0].mean_return if scores else None,
        normalised=scores[0].normalised if scores else None,
        references=data.prompts.references,
        finetune_seconds=round(middle - began, 2),
        evaluate_seconds=round(time.perf_counter() - middle, 2),
        metrics={name: float(value) for name, value in metrics.items()},
        diverged=diverged,
    )
    write_result(job.path, result)
