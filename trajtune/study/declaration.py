"""What a study declares, and the cells that makes. Without torch."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from trajtune.algorithms import ALGORITHMS
from trajtune.configs import structured
from trajtune.data.setting import Setting, Target
from trajtune.errors import UserError, first_line
from trajtune.shipped import preset, presets, shipped
from trajtune.study.cell import QUARTERS, Cell, Evaluation
from trajtune.suites import get_suite
from trajtune.training.config import Recipe, TrainConfig
from trajtune.tunings import TUNINGS

ASKED: tuple[Target, ...] = ("best", "mean")
"""What zero-shot is asked for: both, whatever the settings say."""


@dataclass(frozen=True)
class Source:
    """The pretrained agent of a suite, and the dataset that few-shot trajectories are drawn from."""

    agent: Path
    data: Path

    def found(self) -> "Source":
        """Return it with ``asset:NAME`` replaced by where that is."""
        return Source(shipped(str(self.agent)), shipped(str(self.data)))


@dataclass(frozen=True)
class Method:
    """Algorithms under tunings, every pair, with one choice of options. A label tells choices apart."""

    algorithms: tuple[str, ...] = field(default_factory=lambda: tuple(ALGORITHMS))
    tunings: tuple[str, ...] = field(default_factory=lambda: tuple(TUNINGS))
    label: str = ""
    learning_rate: float | None = None
    """``None``: the study's, or the recipe's own."""
    std: float | None = Recipe.std
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the algorithms; those of what one wraps are called ``base.NAME``."""
    tuning_options: Mapping[str, Any] = field(default_factory=dict)

    def recipes(self, training: TrainConfig) -> Iterator[Recipe]:
        """Every pair once."""
        if self.learning_rate is not None:
            training = replace(training, learning_rate=self.learning_rate)
        for algorithm in self.algorithms:
            for tuning in self.tunings:
                yield Recipe(algorithm, tuning, self.options, self.tuning_options, self.std, training)


@dataclass(frozen=True)
class Study:
    """All that decides a study's numbers. Zero-shot is evaluated beside the methods, over the same episodes."""

    suites: Mapping[str, Source]
    settings: tuple[Setting, ...]
    methods: tuple[Method, ...] = (Method(),)
    tasks: str = "test"
    """test, train, all, or a list such as 0,3,7; of every suite."""
    seeds: tuple[int, ...] = (0,)
    """They decide few-shot sets, prompts, initial critics and batches. Episodes have the same seeds in all of them."""
    episodes: int = Evaluation.episodes
    points: int = QUARTERS
    """Evaluations along training, beside those at its start and its end."""
    curve_episodes: int = Evaluation.curve_episodes
    """The first so many episodes make a point of the curve; 0 is all of them."""
    forgetting: int = Evaluation.forgetting
    """Tasks of pretraining that are scored before and after every run; 0 is none."""
    training: TrainConfig = field(default_factory=TrainConfig)
    deltas: bool = False
    """Whether to keep what every run moved."""

    @property
    def evaluation(self) -> Evaluation:
        """How every run is scored."""
        precision, forgetting = self.training.precision, self.forgetting
        return Evaluation(self.episodes, self.points, self.curve_episodes, precision=precision, forgetting=forgetting)

    def cells(self) -> Iterator[Cell]:
        """Every cell once, zero-shot first in each suite, setting and seed: asked for the best return and the mean.

        Without any training the mean often does better (FACTS section 12): gains are to be over the better of both.
        """
        tuned = [(recipe, method.label) for method in self.methods for recipe in method.recipes(self.training)]
        for suite in self.suites:
            seen: set[Setting] = set()
            for setting in self.settings:
                untuned = dict.fromkeys([*(replace(setting, target=each) for each in ASKED), setting])
                fresh = [each for each in untuned if each not in seen]
                seen.update(fresh)
                for seed in self.seeds:
                    yield from (Cell(suite, each, seed) for each in fresh)
                    yield from (Cell(suite, setting, seed, recipe, label) for recipe, label in tuned)

    def check(self) -> None:
        """Raise a ``UserError`` for what cannot be run: unknown names, numbers out of range, a cell declared twice."""
        if not (self.suites and self.settings and self.methods and self.seeds):
            raise UserError("a study needs at least one suite, one setting, one method and one seed")
        if self.training.seed != 0:
            raise UserError("a study's seeds are its own field, seeds: leave seed out of training")
        for seed in self.seeds:
            replace(self.training, seed=seed)  # checks its range
        for suite in self.suites:
            get_suite(suite).select(self.tasks)
        _ = self.evaluation  # checks its numbers
        for method in self.methods:
            _check_method(method, self.training)
        seen: set[Path] = set()
        for cell in self.cells():
            if cell.folder in seen:
                raise UserError(f"the study declares {cell.folder} twice: leave one out, or give its method a label")
            seen.add(cell.folder)

    def to_json(self) -> dict[str, Any]:
        """The study as it is saved beside its results; ``load_study`` reads it."""
        sources = {name: {"agent": str(s.agent), "data": str(s.data)} for name, s in self.suites.items()}
        training = {name: value for name, value in asdict(self.training).items() if name != "seed"}
        return {**asdict(self), "suites": sources, "training": training}


def _check_method(method: Method, training: TrainConfig) -> None:
    if not (method.algorithms and method.tunings):
        raise UserError("a method needs at least one algorithm and one tuning")
    if any(not (c.isalnum() or c in "-_.=") for c in method.label):
        raise UserError(f"label {method.label!r} becomes part of a folder's name: letters, digits and -_.= only")
    for recipe in method.recipes(training):
        recipe.resolved()


def load_study(path: Path | str) -> Study:
    """Read a study from YAML; every wrong name or value in it is a ``UserError`` that says where.

    A bare name is a study that comes with the package, unless there is a file of that name. Paths in it are relative
    to the working directory, as those on a command line; ``asset:NAME`` is a folder that comes with the package.
    """
    import yaml

    name, path = str(path), Path(path)
    if name in presets() and not path.exists():
        path = preset(name)
    try:
        value = yaml.load(path.read_text(), _loader())  # a SafeLoader
        json.dumps(value)  # dates, loops and the like have no place in options
    except FileNotFoundError:
        own = ", ".join(presets())
        raise UserError(f"there is no study {path}: give a YAML file, or one that comes with trajtune: {own}") from None
    # The last five: what PyYAML lets through from a value that is not of the type its tag says.
    except (OSError, yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is not readable as YAML of plain values ({first_line(error)})") from None
    try:
        if isinstance(value, dict) and isinstance(tasks := value.get("tasks"), int | list):
            value["tasks"] = ",".join(map(str, tasks if isinstance(tasks, list) else [tasks]))
        study: Study = structured(Study, value, "study")
        study.check()
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return study


def _loader() -> type:
    """YAML 1.2's numbers (3e-4 is a number there, in PyYAML's 1.1 it is a word), and no name twice in a mapping."""
    import re

    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            names = [self.construct_object(key, deep=True) for key, _ in node.value]
            for i, name in enumerate(names):
                if name in names[:i]:
                    raise yaml.constructor.ConstructorError(None, None, f"{name} is there twice", node.start_mark)
            mapping: dict[Any, Any] = super().construct_mapping(node, deep)
            return mapping

    number = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789."))
    return Loader
