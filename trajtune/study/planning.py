"""How long a study will take here, before it is begun: one run of each kind is measured, a little of it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trajtune.artifacts import STUDY, signature
from trajtune.processes import worker_pool
from trajtune.progress import Progress, silent
from trajtune.shipped import ASSET
from trajtune.study.cell import Evaluation, Run
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

STAGE = "measuring one run of each kind"
SHIPPED = "cheetah-vel"
"""The suite whose agent and data are at hand wherever trajtune is."""


@dataclass(frozen=True)
class Kind:
    """Runs of one suite, recipe and evaluation; they differ in setting, task and seed."""

    suite: str
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
    first: dict[str, Job] = {}
    for job in missing:
        first.setdefault(_kind(job), job)
    costs: dict[str, Cost] = {}
    progress(STAGE, 0, len(first))
    with worker_pool(min(workers, len(first))) as each:
        for name, cost in zip(first, each(_measured, first.values()), strict=True):
            costs[name] = cost
            progress(STAGE, len(costs), len(first))
    seconds = dict.fromkeys(first, 0.0)
    counts, longest = dict.fromkeys(first, 0), 0.0
    for job, took in zip(missing, added((job.run, costs[_kind(job)]) for job in missing), strict=True):
        seconds[_kind(job)] += took
        counts[_kind(job)] += 1
        longest = max(longest, took)
    kinds = [
        Kind(j.run.suite, j.run.algorithm, j.run.tuning, j.cell.label, counts[name], seconds[name] / counts[name])
        for name, j in first.items()
    ]
    return Plan(len(jobs), len(jobs) - len(missing), tuple(kinds), longest)


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


def runs_of(study: Study) -> Iterator[Run]:
    """Every run that a study declares, without a look at its agents and data."""
    tasks = {name: get_suite(name).select(study.tasks) for name in study.suites}
    for cell in study.cells():
        recipe = cell.resolved()
        for task in tasks[cell.suite]:
            yield Run(cell.suite, task, cell.setting, cell.seed, recipe, "", "", study.evaluation)


Costs = Mapping[tuple[str, str], Cost]
"""By algorithm and tuning."""


def measured(studies: Sequence[Study], workers: int, progress: Progress = silent) -> Costs:
    """Measure every algorithm under every tuning of some studies, on the agent and the data that ship."""
    first: dict[tuple[str, str], Run] = {}
    for run in (run for study in studies for run in runs_of(study)):
        first.setdefault((run.algorithm, run.tuning), run)
    costs: dict[tuple[str, str], Cost] = {}
    with worker_pool(workers) as each:
        for name, cost in zip(first, each(_on_shipped, first.values()), strict=True):
            costs[name] = cost
            progress(STAGE, len(costs), len(first))
    return costs


def seconds_of(study: Study, costs: Costs) -> float:
    """Return the seconds of one thread that a study takes by the cost of each algorithm under each tuning."""
    return sum(added((run, costs[run.algorithm, run.tuning]) for run in runs_of(study)))


def _kind(job: Job) -> str:
    recipe = job.run.recipe
    same = None if recipe is None else replace(recipe, training=replace(recipe.training, seed=0)).to_json()
    return signature([job.run.suite, same])


def _measured(job: Job) -> Cost:
    return _cost(job.source, job.run)


def _on_shipped(run: Run) -> Cost:
    source = FilledSource(*(Path(f"{ASSET}{SHIPPED}/{name}") for name in ("agent", "data")))
    setting = replace(run.setting, quality="medium", trajectories=5)
    return _cost(source, replace(run, suite=SHIPPED, task=get_suite(SHIPPED).test[0], setting=setting, seed=0))


def _cost(source: FilledSource, run: Run) -> Cost:
    import torch

    from trajtune.data.fewshot import few_shot

    torch.set_num_threads(1)
    base, dataset = agent_of(source.agent), dataset_of(source.data)
    few = few_shot(dataset, run.task, run.setting, run.seed, base.agent.spec.prompt)
    return cost_of(base, few, get_suite(run.suite), run.recipe, run.evaluation.episodes)


def added(runs: Iterable[tuple[Run, Cost]]) -> Iterator[float]:
    """The seconds of each run; a critic is warmed up by the first that asks for it."""
    warm: set[object] = set()
    for run, cost in runs:
        steps = 0 if run.recipe is None else run.recipe.training.steps
        took = episodes(run.evaluation, steps) * get_suite(run.suite).horizon(run.task) * cost.step
        if run.recipe is not None:
            took += cost.setup + steps * cost.update
            if (shared := (run.few_shot, critic_of(run.recipe))) not in warm:
                warm.add(shared)
                took += cost.warm
        yield took


def episodes(evaluation: Evaluation, steps: int) -> int:
    """Return how many a run is scored over, all in all."""
    if steps == 0:
        return evaluation.episodes
    points = len(evaluation.steps(steps)) - 1
    return evaluation.episodes + evaluation.along * (points + 2 * evaluation.forgetting)
