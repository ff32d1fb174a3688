"""Run the demo: zero-shot and every algorithm on each task, over the same episodes; numbers and a picture of them."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trajtune.artifacts import DEMO, MARK, claimed, clear, finish, finished
from trajtune.data.setting import Target
from trajtune.demo.budget import choose
from trajtune.demo.config import ALGORITHMS, BUDGETS, NAMES, SUITE, UNTUNED, Budget, BudgetName, DemoConfig
from trajtune.demo.picture import PICTURE, draw
from trajtune.errors import DivergedError
from trajtune.files import read_json
from trajtune.processes import Map, worker_pool
from trajtune.progress import Progress, silent
from trajtune.shipped import asset
from trajtune.statistics import normalised, stratified_interval
from trajtune.suites import get_suite

if TYPE_CHECKING:
    from trajtune.agents.saving import SavedAgent
    from trajtune.data.fewshot import FewShot
    from trajtune.suites.base import Suite

_Job = tuple[DemoConfig, Budget, int, str]


def run_demo(
    config: DemoConfig,
    budget: BudgetName = "auto",
    folder: Path | None = None,
    workers: int = 1,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Evaluate zero-shot, finetune with every algorithm, evaluate again; write numbers and picture into ``folder``.

    ``say`` is told beforehand how much is going to be done and why. Without a ``folder``, it is one below ``runs/demo``
    that is named after what is asked for; one that holds another demo is a ``UserError``. Returns what the folder's
    ``demo.json`` says, with ``folder`` and ``picture``.
    """
    config.check()
    with worker_pool(workers) as pool:
        name, reason = str(budget), "as asked for"
        if budget == "auto":
            begun = None if folder is None else _begun(folder)
            name, reason = (begun, "as begun here") if begun else choose(config, workers, pool)
        size = BUDGETS[name]
        run = {"suite": SUITE, "config": asdict(config), "budget": {"name": name, **asdict(size)}}
        rate = "" if config.learning_rate is None else f"-{config.learning_rate:g}"
        told = f"{config.quality}-{config.trajectories}-{config.tuning}{rate}-{config.seed}-{name}"
        folder = Path("runs/demo", told) if folder is None else folder
        held: AbstractContextManager[None] = claimed(folder, DEMO, run, [PICTURE])
        if finished(folder, DEMO, run) is not None:  # it is the same: computed once more
            held = nullcontext()
        say(
            f"Budget {name}, {reason}. {size.tasks} tasks; {' and '.join(ALGORITHMS)} x {config.tuning}: {size.steps} "
            f"updates of {size.batch} windows; then {size.episodes} episodes a task in MuJoCo, the same seeds for all."
        )
        with held:
            tasks = _run(config, size, pool, progress)
            result = {"run": run, "tasks": tasks, "summary": _summary(tasks)}
            draw(result, folder / PICTURE)
            header = finish(folder, DEMO, result, [PICTURE])
        clear(folder)
    return {**header, "folder": str(folder), "picture": str(folder / PICTURE)}


def _begun(folder: Path) -> str | None:
    """Return the budget of the demo that a folder holds, finished or not: what is measured may differ by the day."""
    for name in (DEMO.header, MARK):
        if (folder / name).exists():
            run: Any = read_json(folder / name, DEMO.name).get("run")
            found = run.get("budget", {}).get("name") if isinstance(run, dict) else None
            return found if found in BUDGETS else None
    return None


def prepared(config: DemoConfig, task: int, target: Target = "best") -> "tuple[SavedAgent, FewShot, Suite]":
    """Return the shipped agent, and the few-shot set of a test task by its place among them."""
    from trajtune.agents.saving import load_agent
    from trajtune.data.fewshot import few_shot
    from trajtune.data.store import Dataset

    base, suite = load_agent(asset(f"{SUITE}/agent")), get_suite(SUITE)
    dataset = Dataset.open(asset(f"{SUITE}/data"), verify=False)
    setting = replace(config.setting, target=target)
    few = few_shot(dataset, suite.test[task], setting, config.seed, base.agent.spec.prompt)
    return base, few, suite


def _run(config: DemoConfig, size: Budget, pool: Map, progress: Progress) -> list[dict[str, Any]]:
    """Every task with the results of all, by name."""
    jobs = [(config, size, task, name) for task in range(size.tasks) for name in NAMES]
    stage, results = "runs of the demo", []
    progress(stage, 0, len(jobs))
    for result in pool(_one, jobs):
        if result["diverged"] is not None:
            raise DivergedError(result["diverged"])
        results.append(result)
        progress(stage, len(results), len(jobs))
    suite, tasks = get_suite(SUITE), []
    for place in range(size.tasks):
        first, *_ = own = results[place * len(NAMES) : (place + 1) * len(NAMES)]
        task = suite.task(suite.test[place])
        about = {"task": task.index, "name": task.name, "target": task.parameters["velocity"]}
        shared = {name: first[name] for name in ("few_shot_return", "references")}
        tasks.append({**about, **shared, "scores": dict(zip(NAMES, own, strict=True))})
    return tasks


def _one(job: _Job) -> dict[str, Any]:
    """One run, in a worker."""
    import torch

    from trajtune.study.run_cell import run_cell

    config, size, task, name = job
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        base, few, suite = prepared(config, task, UNTUNED.get(name, "best"))
        recipe = None if name in UNTUNED else config.recipe(name, size.steps, size.batch)
        result = run_cell(base, few, suite, recipe, size.evaluation, keep_course=True)
    finally:
        torch.set_num_threads(threads)
    return {**asdict(result), "few_shot_return": float(few.trajectories.returns.mean())}


def _summary(tasks: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over tasks, and intervals of the paired normalised differences, resampled within each task.

    Differences to zero-shot are to the better of both.
    """

    def scores(name: str) -> Any:
        """[tasks, episodes]"""
        return np.array([[normalised(v, t["references"]) for v in t["scores"][name]["returns"]] for t in tasks])

    every = {name: scores(name) for name in NAMES}
    better = max(UNTUNED, key=lambda name: float(np.mean(every[name])))
    pairs = [(name, better) for name in ALGORITHMS] + [(ALGORITHMS[1], ALGORITHMS[0])]
    return {
        "mean_return": {n: float(np.mean([t["scores"][n]["mean_return"] for t in tasks])) for n in NAMES},
        "normalised": {n: float(np.mean(every[n])) for n in NAMES},
        "differences": {
            f"{a} - {b}": {
                "mean": float(np.mean(every[a] - every[b])),
                "interval": stratified_interval(every[a] - every[b]),
            }
            for a, b in pairs
        },
    }
