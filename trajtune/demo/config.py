"""What the demo shows and how much it does. Without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trajtune.data.setting import Setting, Target
from trajtune.shipped import EXAMPLE
from trajtune.study.cell import ZERO_SHOT, Evaluation
from trajtune.study.declaration import ASKED
from trajtune.training.config import Recipe, TrainConfig

SUITE = EXAMPLE
ALGORITHMS = ("sft", Recipe.algorithm)
"""Imitation, and what a recipe is unless told otherwise: the best that is known for the data it is given."""
UNTUNED: Mapping[str, Target] = {f"{ZERO_SHOT} ({target})": target for target in ASKED}
"""Zero-shot by what the agent is asked for."""
NAMES = (*UNTUNED, *ALGORITHMS)


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

    @property
    def evaluation(self) -> Evaluation:
        return Evaluation(self.episodes, self.points, self.curve_episodes)


BUDGETS: Mapping[str, Budget] = {
    "full": Budget(tasks=5, steps=300, batch=64, episodes=50, points=5, curve_episodes=10),
    "standard": Budget(tasks=4, steps=120, batch=32, episodes=20, points=2, curve_episodes=5),
    "half": Budget(tasks=2, steps=120, batch=32, episodes=20, points=2, curve_episodes=5),
    "small": Budget(tasks=2, steps=60, batch=32, episodes=10, points=1, curve_episodes=5),
}
"""From the largest to the smallest."""
BudgetName = Literal["auto", "full", "standard", "half", "small"]
"""``auto`` is the largest but ``full`` that fits into about two minutes here, or the smallest."""


@dataclass(frozen=True)
class DemoConfig:
    """What the demo learns from and how. With a budget, it decides every number."""

    quality: Literal["expert", "medium"] = "expert"
    """Which recorded trajectories to learn from."""
    trajectories: int = 50
    """How many of them a task."""
    tuning: str = Recipe.tuning
    learning_rate: float | None = None
    """The default is the tuning's own."""
    seed: int = 0

    @property
    def setting(self) -> Setting:
        return Setting(self.quality, self.trajectories)

    def recipe(self, algorithm: str, steps: int, batch: int) -> Recipe:
        training = TrainConfig(steps=steps, batch=batch, learning_rate=self.learning_rate, seed=self.seed)
        return Recipe(algorithm, self.tuning, training=training)

    def check(self) -> None:
        """Raise a ``UserError`` for what cannot be run, before anything has begun."""
        _ = self.setting
        for algorithm in ALGORITHMS:
            self.recipe(algorithm, 1, 1).resolved()
