"""What is run and what decides it: a recipe in a suite, setting and seed, and how it is evaluated. Without torch."""

from dataclasses import dataclass, replace
from pathlib import Path

from trajtune.compute.precision import Precision, resolved
from trajtune.data.setting import Setting
from trajtune.errors import UserError
from trajtune.training.config import Recipe

ZERO_SHOT, UNTUNED = "zero-shot", "none"
"""What stands for algorithm and tuning where there is no recipe."""
QUARTERS = 3
"""Points of a curve between start and end."""


@dataclass(frozen=True)
class Evaluation:
    """How a run is scored. Episode i has the same seed in every run of a task, and at every point of a curve."""

    episodes: int = 50
    points: int = QUARTERS
    """Evaluations along training, equally far apart, beside those at its start and its end."""
    curve_episodes: int = 10
    """The first so many episodes make a point of the curve; 0 is all of them. The final score has all in any case."""
    seed: int = 0
    precision: Precision = "auto"
    """Number format of the scores; a run's training has its own in the recipe."""
    forgetting: int = 0
    """So many of the tasks that the agent was pretrained on are scored before and after, over a curve's episodes."""

    def __post_init__(self) -> None:
        for name, least in (("episodes", 1), ("points", 0), ("curve_episodes", 0), ("forgetting", 0)):
            if getattr(self, name) < least:
                raise UserError(f"{name} must be at least {least}, got {getattr(self, name)}")

    @property
    def along(self) -> int:
        """Episodes of a point of the curve."""
        return min(self.curve_episodes or self.episodes, self.episodes)

    def played(self, total: int) -> int:
        """Return how many episodes a run of ``total`` updates is scored over, all in all; the end's are the final's."""
        if total == 0:
            return self.episodes
        return self.episodes + self.along * (len(self.steps(total)) - 1 + 2 * self.forgetting)

    def steps(self, total: int) -> list[int]:
        """Return the updates after which a training of ``total`` is evaluated, from 0 to the end, none twice."""
        parts = self.points + 1
        return sorted({0, total, *(round(total * i / parts) for i in range(1, parts))})


@dataclass(frozen=True)
class Run:
    """All that decides a result: what is equal here has the same numbers on the same machine."""

    suite: str
    task: int
    setting: Setting
    seed: int
    """Of the few-shot set and its prompts. A recipe has its own, which a study sets to the same."""
    recipe: Recipe | None
    """None: zero-shot. All its options are written out."""
    agent: str
    """Digest of the pretrained agent."""
    data: str
    """Digest of the dataset that the few-shot set was drawn from, or of the set itself."""
    evaluation: Evaluation

    @property
    def few_shot(self) -> tuple[str, str, int, Setting, int]:
        """What decides the trajectories of the few-shot set in a study."""
        return self.suite, self.data, self.task, self.setting.data, self.seed

    @property
    def algorithm(self) -> str:
        return ZERO_SHOT if self.recipe is None else self.recipe.algorithm

    @property
    def tuning(self) -> str:
        return UNTUNED if self.recipe is None else self.recipe.tuning


def suite_folder(suite: str) -> str:
    """Return a suite's name as a folder can have it."""
    return suite.replace("/", "-")


@dataclass(frozen=True)
class Cell:
    """One recipe x suite x setting x seed; without a recipe, zero-shot. A label tells choices of options apart."""

    suite: str
    setting: Setting
    seed: int
    recipe: Recipe | None = None
    label: str = ""
    entry: str = ""
    """The study's name for agent and data, where it is not the suite's."""

    @property
    def group(self) -> str:
        """What it is compared within: the study's name for agent and data."""
        return self.entry or self.suite

    @property
    def algorithm(self) -> str:
        return ZERO_SHOT if self.recipe is None else self.recipe.algorithm

    @property
    def tuning(self) -> str:
        return UNTUNED if self.recipe is None else self.recipe.tuning

    @property
    def folder(self) -> Path:
        """Where its results lie, relative to the study's folder."""
        s = self.setting
        name = f"{self.algorithm}-{self.tuning}" + (f"-{self.label}" if self.label else "")
        data = f"{s.quality or 'any'}-{s.trajectories}-{s.reward}" + (f"-{s.target}" if s.target != "best" else "")
        # No label, nor any folder of ours, has an @.
        group = suite_folder(self.suite) + (f"@{self.entry}" if self.entry else "")
        return Path(group, data, name, f"seed-{self.seed}")

    def place(self, task: int) -> Path:
        """Where its result on a task lies, relative to the study's folder."""
        return self.folder / f"task-{task}.json"

    def resolved(self) -> Recipe | None:
        """Return its recipe with every option written out and this cell's seed; what is wrong is a ``UserError``."""
        if self.recipe is None:
            return None
        training = replace(self.recipe.training, seed=self.seed)
        return replace(self.recipe, training=training).resolved()


def settled(recipe: Recipe | None, evaluation: Evaluation, device: str = "cpu") -> tuple[Recipe | None, Evaluation]:
    """Return both with nothing left to defaults or to the machine: it decides what number format ``auto`` is."""
    if recipe is not None:
        recipe = recipe.resolved()
        training = replace(recipe.training, precision=_format(recipe.training.precision, device))
        recipe = replace(recipe, training=training)
    return recipe, replace(evaluation, precision=_format(evaluation.precision, device))


def _format(precision: Precision, device: str) -> Precision:
    if precision != "auto":
        return precision
    import torch

    return resolved(precision, torch.device(device))
