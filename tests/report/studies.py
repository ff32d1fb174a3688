"""Results made by hand, for pages: what they say is easy to work out, and nothing is drawn."""

from collections.abc import Iterable
from dataclasses import replace

from trajtune.data.setting import Setting
from trajtune.report.table import Block, Entry, Row, Table
from trajtune.study.cell import Evaluation, Run
from trajtune.study.results import Machine, Point, Result
from trajtune.training.config import Recipe, TrainConfig

ZERO = "zero-shot"
MACHINE = Machine("A processor", 1, {"python": "3.11.7", "torch": "2.13.0"})
CLAIM = {
    "id": "first",
    "statement": "sft gains",
    "source": "Table 1",
    "verdict": "supported",
    "estimate": 0.25,
    "interval": (0.125, 0.375),
    "detail": "all of them",
    "seeds": None,
}
TABLE = Table(
    "table1",
    "A table",
    ("", "sft", "why"),
    (Block("full", (Row("point", (Entry(0.5, 0.1, "best", "1 diverged"), "a word")),)),),
    notes=("A note.",),
)


def made(
    algorithm: str,
    task: int = 1,
    seed: int = 0,
    level: float = 0.0,
    tuning: str = "full",
    label: str = "",
    count: int = 4,
) -> Result:
    """A run whose normalised score is near a level; no two runs or episodes are alike."""
    values = tuple(
        100.0 * (level + 0.02 * task + 0.01 * seed) + (7 * i + 3 * task + 5 * seed) % 11 for i in range(count)
    )
    if algorithm != ZERO:  # a gain that differs from task to task, too
        values = tuple(value + 3.0 * task - (5 * i + seed) % 4 for i, value in enumerate(values))
    recipe = None if algorithm == ZERO else Recipe(algorithm, tuning, training=TrainConfig(seed=seed)).resolved()
    evaluation = Evaluation(episodes=count, precision="fp32")
    run = Run("point", task, Setting("medium", 5), seed, recipe, "agent", "data", evaluation)
    mean = sum(values) / count
    start = Point(0, values, mean - 10.0, mean / 100.0 - 0.1, None, {})
    end = Point(300, values, mean, mean / 100.0, None, {})
    return Result(
        run,
        label,
        f"goal {task}",
        "return",
        returns=values,
        mean_return=mean,
        normalised=mean / 100.0,
        few_shot=f"few-{task}-{seed}",
        references={"random": 0.0, "expert": 100.0},
        target_return=90.0,
        curve=(start, end) if recipe is not None else (end,),
        machine=MACHINE,
    )


def study(tasks: Iterable[int] = (1, 2, 3), seeds: Iterable[int] = (0, 1)) -> list[Result]:
    """Zero-shot, two algorithms that gain and lose, and one of two labels."""
    places = [(task, seed) for task in tasks for seed in seeds]
    found = [made(ZERO, task, seed) for task, seed in places]
    for algorithm, level, label in (("sft", 0.3, ""), ("dpo", -0.4, ""), ("ppo", 0.1, "low"), ("ppo", 0.2, "high")):
        found += [made(algorithm, task, seed, level, label=label) for task, seed in places]
    return found


def hostile(words: str) -> list[Result]:
    """The same words wherever a file of results can have some."""
    machine = Machine(words, 1, {words: words})
    named = [
        replace(r, name=f"{words} {r.run.task}", entry=words, few_shot=words, machine=machine)
        for r in study(tasks=(1, 2, 3), seeds=(0,))
    ]
    found = [r if r.run.recipe is None else replace(r, label=f"{r.label}{words}") for r in named]
    return [*found[:-1], replace(found[-1], diverged=words, returns=(), mean_return=None, normalised=None)]
