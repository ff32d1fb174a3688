"""The demo: a pretrained agent meets held-out tasks. Everything it shows is computed while it runs."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from trajtune.artifacts import DEMO, claimed, clear, finish, finished
from trajtune.data.setting import Setting
from trajtune.errors import DivergedError, UserError
from trajtune.processes import worker_pool
from trajtune.progress import Progress, silent
from trajtune.study.cell import ZERO_SHOT, Evaluation
from trajtune.training.config import Recipe, TrainConfig

if TYPE_CHECKING:
    from trajtune.agents.saving import SavedAgent
    from trajtune.data.fewshot import FewShot
    from trajtune.study.results import Result

SUITE = "cheetah-vel"
ALGORITHMS = ("sft", "qp-sft")
PICTURE = "demo.png"
SECONDS = 120.0
"""What ``auto`` fits the demo into, as far as a short measurement can say."""


@dataclass(frozen=True)
class Budget:
    """How much the demo does."""

    tasks: int
    steps: int
    batch: int
    episodes: int
    points: int
    """Of the learning curve between its first and its last."""
    curve_episodes: int


BUDGETS: Mapping[str, Budget] = {
    "full": Budget(tasks=5, steps=300, batch=64, episodes=50, points=5, curve_episodes=10),
    "standard": Budget(tasks=4, steps=120, batch=32, episodes=20, points=2, curve_episodes=5),
    "half": Budget(tasks=2, steps=120, batch=32, episodes=20, points=2, curve_episodes=5),
    "small": Budget(tasks=2, steps=60, batch=32, episodes=10, points=1, curve_episodes=5),
}
"""From the largest to the smallest. ``auto`` takes the first after ``full`` that fits, or the last."""
BudgetName = Literal["auto", "full", "standard", "half", "small"]


@dataclass(frozen=True)
class DemoConfig:
    """What the demo shows. Beside the budget, it decides every number."""

    quality: str = "expert"
    trajectories: int = 50
    tuning: str = "full"
    learning_rate: float = 3e-4
    """What the agent was pretrained with: larger than full tuning's default, for so few updates."""
    seed: int = 0

    def recipe(self, algorithm: str, steps: int, batch: int) -> Recipe:
        training = TrainConfig(steps=steps, batch=batch, learning_rate=self.learning_rate, seed=self.seed)
        return Recipe(algorithm, self.tuning, training=training)

    def check(self) -> None:
        """Raise a ``UserError`` for what cannot be run, before anything has begun."""
        Setting(self.quality, self.trajectories)
        for algorithm in ALGORITHMS:
            self.recipe(algorithm, 1, 1).resolved()


def asset(name: str) -> Path:
    """Return the folder of something that ships with the package."""
    path = Path(str(files("trajtune").joinpath("assets", name)))
    if not path.exists():
        raise UserError(f"the asset {name} is missing from this installation")
    return path


def run_demo(
    config: DemoConfig,
    budget: BudgetName = "auto",
    folder: Path | None = None,
    workers: int = 1,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Evaluate zero-shot, finetune with every algorithm, evaluate again; then write numbers and picture.

    ``say`` is told beforehand how much is going to be done and why. Without a ``folder``, it is one below ``runs/demo``
    that is named after what was asked for; one that holds another demo is a ``UserError``. Returns what the folder's
    ``demo.json`` says, ``folder`` and ``picture`` in it.
    """
    config.check()
    with worker_pool(workers) as pool:
        name, reason = (budget, "as asked for") if budget != "auto" else _choose(config, workers, pool)
        size = BUDGETS[name]
        run = {"suite": SUITE, "config": asdict(config), "budget": {"name": name, **asdict(size)}}
        told = f"{config.quality}-{config.trajectories}-{config.tuning}-{config.learning_rate:g}-{config.seed}-{name}"
        folder = Path("runs/demo", told) if folder is None else folder
        again = finished(folder, DEMO, run) is not None  # the same is shown, and computed, once more
        say(
            f"Budget {name}, {reason}: {size.tasks} tasks, {size.steps} updates of {size.batch} windows, "
            f"then {size.episodes} episodes a task in MuJoCo, the same seeds for all."
        )
        with nullcontext() if again else claimed(folder, DEMO, run):
            tasks = _run(config, size, pool, progress)
            result = {"run": run, "tasks": tasks, "summary": _summary(tasks)}
            draw(result, folder / PICTURE)
        header = finish(folder, DEMO, result, [PICTURE])
        clear(folder)
    return {**header, "folder": str(folder), "picture": str(folder / PICTURE)}
