"""Results made by hand, of which it is known what reports must say."""

from dataclasses import replace
from typing import Any

from trajtune.data.setting import Setting
from trajtune.study.cell import Evaluation, Run
from trajtune.study.results import Point, Result
from trajtune.training.config import Recipe


def made(
    algorithm: str,
    task: int,
    returns: tuple[float, ...],
    *,
    tuning: str = "full",
    seed: int = 0,
    suite: str = "ant-dir",
    label: str = "",
    options: dict[str, Any] | None = None,
    curve: tuple[float, ...] = (),
    **setting: Any,
) -> Result:
    """One run; 0 is random and 100 the expert, so a return of 40 is a score of 0.4."""
    recipe = None if algorithm == "zero-shot" else Recipe(algorithm, tuning, options or {})
    data = Setting(**{"quality": "expert", "trajectories": 50, **setting})
    run = Run(suite, task, data, seed, recipe, "agent", "data", Evaluation(episodes=len(returns) or 1))
    mean = sum(returns) / len(returns) if returns else None
    return Result(
        run,
        label,
        f"task {task}",
        "return",
        returns=returns,
        mean_return=mean,
        normalised=None if mean is None else mean / 100.0,
        references={"random": 0.0, "expert": 100.0},
        curve=tuple(Point(10 * i, (v,), v, v / 100.0, None, {}) for i, v in enumerate(curve)),
        finetune_seconds=2.0,
        evaluate_seconds=1.0,
    )


def runs(algorithm: str, level: float, tasks: int = 4, seeds: int = 2, **how: Any) -> list[Result]:
    """Runs around a level, which is a little higher in later tasks and a little lower in earlier ones.

    Differences of two levels so vary by a hundredth of themselves from task to task, and have the levels' as their
    mean. All else that differs between tasks and seeds is the same for every algorithm.
    """
    levels = [level * (1.0 + 0.01 * (t - (tasks - 1) / 2)) for t in range(tasks)]
    return [
        made(algorithm, t, (own + t + s, own + t + s + 2.0), seed=s, **how)
        for t, own in enumerate(levels)
        for s in range(seeds)
    ]


def diverged(result: Result) -> Result:
    """The same run, if it had diverged."""
    return replace(result, returns=(), mean_return=None, normalised=None, diverged="a loss is not finite")
