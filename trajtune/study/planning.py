"""How long a study will take here, before it is begun: one run of each kind is measured, a little of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TypeVar

from trajtune.artifacts import STUDY, signature
from trajtune.data.setting import Setting
from trajtune.processes import worker_pool
from trajtune.progress import Progress, silent
from trajtune.shipped import ASSET, EXAMPLE
from trajtune.study.cell import Run
from trajtune.study.choosing import (
    CHOICE,
    LABEL,
    SELECTION,
    check,
    chosen,
    first_choices,
    trial_folder,
    trial_label,
    trial_studies,
)
from trajtune.study.declaration import FilledSource, Study
from trajtune.study.jobs import Job, done, jobs_of
from trajtune.study.measuring import Cost, cost_of, critic_of
from trajtune.study.sources import agent_of, dataset_of, forget, record
from trajtune.suites import get_suite
from trajtune.suites.base import Suite
from trajtune.training.config import Recipe

STAGE = "measuring one run of each kind"


@dataclass(frozen=True)
class Kind:
    """Runs of one suite, recipe and evaluation; they differ in setting, task and seed."""

    suite: str
    group: str
    """The suite, or the study's own name for an agent and data of it."""
    algorithm: str
    tuning: str
    label: str
    runs: int
    """That are still to be done."""
    seconds: float
    """Of one of them, on average: a warm-up of a critic is shared by the runs that have the same."""


@dataclass(frozen=True)
class Plan:
    """What is to be done."""

    runs: int
    done: int
    kinds: tuple[Kind, ...]
    longest: float
    """Seconds of the longest run."""

    @property
    def seconds(self) -> float:
        """Of one thread, for all that is to be done."""
        return sum(kind.runs * kind.seconds for kind in self.kinds)

    def wall(self, workers: int) -> float:
        """Return the seconds that so many workers take who do not get into each other's way."""
        return max(self.seconds / max(1, workers), self.longest)


def plan(study: Study, folder: Path | str | None = None, workers: int = 1, progress: Progress = silent) -> Plan:
    """Measure one run of each kind that is still to be done, and add up.

    Data that the study would record are recorded; nothing else is written. Without a folder, nothing is done yet.
    """
    study.check()
    forget()
    record(study, progress)
    jobs, missing = [], []
    for part, where in _parts(study, Path(folder or ".")):
        begun = folder is not None and (where / STUDY.header).exists()
        own = list(jobs_of(part, where))
        jobs += own
        missing += [job for job in own if not (begun and done(job))]
    names = [_kind(job) for job in missing]
    first: dict[str, Job] = {}
    for name, job in zip(names, missing, strict=True):
        first.setdefault(name, job)
    costs = _costs({name: (job.source, job.run) for name, job in first.items()}, workers, progress)
    took = list(added((job.run, costs[name]) for name, job in zip(names, missing, strict=True)))
    seconds: dict[str, list[float]] = {name: [] for name in first}
    for name, one in zip(names, took, strict=True):
        seconds[name].append(one)
    kinds = [
        Kind(j.run.suite, j.cell.group, j.run.algorithm, j.run.tuning, j.cell.label, len(seconds[n]), fmean(seconds[n]))
        for n, j in first.items()
    ]
    return Plan(len(jobs), len(jobs) - len(missing), tuple(kinds), max(took, default=0.0))


def _parts(study: Study, folder: Path) -> Iterator[tuple[Study, Path]]:
    """What a study runs, and where: all trials of its selection, if that is still to be made, before its own."""
    selection = study.selection
    if selection is None or (folder / SELECTION / CHOICE).exists():
        yield chosen(study, folder, lambda *_: None), folder
        return
    check(study)
    trials = first_choices(selection)
    for suite, part in trial_studies(study, trials, selection.seeds):
        yield part, trial_folder(folder / SELECTION, suite)
    picked = tuple(replace(each, label=LABEL) for each in trials if each.label == trial_label(0))
    yield replace(study, methods=(*study.methods, *picked), selection=None), folder


Costs = Mapping[tuple[str, str], Cost]
"""By algorithm and tuning."""


def measured(studies: Sequence[Study], workers: int, progress: Progress = silent) -> Costs:
    """Measure every algorithm under every tuning of some studies, on the agent and the data that ship."""
    suite = get_suite(EXAMPLE)
    source = FilledSource(*(Path(f"{ASSET}{EXAMPLE}/{name}") for name in ("agent", "data")))
    asked: dict[tuple[str, str], tuple[FilledSource, Run]] = {}
    for each in studies:
        for cell in each.cells():
            if (name := (cell.algorithm, cell.tuning)) not in asked:
                setting = Setting("medium", 5)
                run = Run(EXAMPLE, suite.test[0], setting, 0, cell.resolved(), "", "", each.evaluation)
                asked[name] = source, run
    return _costs(asked, workers, progress)


def seconds_of(study: Study, costs: Costs) -> float:
    """Return the seconds of one thread that a study takes by the cost of each algorithm under each tuning."""
    recipes: dict[tuple[str, str, str], Recipe | None] = {}

    def known() -> Iterator[tuple[Run, Cost]]:
        for c, task in study.runs():
            if (name := (c.algorithm, c.tuning, c.label)) not in recipes:
                recipes[name] = c.resolved()  # whose seed costs nothing
            data = str(study.suites[c.group].data)  # which tells few-shot sets apart
            run = Run(c.suite, task, c.setting, c.seed, recipes[name], "", data, study.evaluation)
            yield run, costs[c.algorithm, c.tuning]

    return sum(added(known()))


def _kind(job: Job) -> str:
    recipe = job.run.recipe
    same = None if recipe is None else replace(recipe, training=replace(recipe.training, seed=0)).to_json()
    return signature([job.cell.group, same])


K = TypeVar("K")


def _costs(asked: Mapping[K, tuple[FilledSource, Run]], workers: int, progress: Progress) -> dict[K, Cost]:
    """Measure one run of each kind, spread over the workers."""
    costs: dict[K, Cost] = {}
    progress(STAGE, 0, len(asked))
    with worker_pool(min(workers, len(asked))) as each:
        for name, cost in zip(asked, each(_cost, asked.values()), strict=True):
            costs[name] = cost
            progress(STAGE, len(costs), len(asked))
    return costs


def _cost(asked: tuple[FilledSource, Run]) -> Cost:
    import torch

    from trajtune.data.fewshot import few_shot

    torch.set_num_threads(1)
    source, run = asked
    base, dataset = agent_of(source.agent), dataset_of(source.data)
    few = few_shot(dataset, run.task, run.setting, run.seed, base.agent.spec.prompt)
    return cost_of(base, few, get_suite(run.suite), run.recipe, run.evaluation.episodes)


def added(runs: Iterable[tuple[Run, Cost]]) -> Iterator[float]:
    """The seconds of each run; a critic is warmed up by the first that asks for it."""
    warm: set[object] = set()
    suites: dict[str, Suite] = {}
    for run, cost in runs:
        updates = 0 if run.recipe is None else run.recipe.training.steps
        if run.suite not in suites:
            suites[run.suite] = get_suite(run.suite)  # which is built anew at each call
        took = cost.run(updates, run.evaluation, suites[run.suite].horizon(run.task))
        if run.recipe is not None and (shared := (run.few_shot, critic_of(run.recipe))) not in warm:
            warm.add(shared)
            took += cost.warm
        yield took
