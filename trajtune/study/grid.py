"""What a study declares, and the cells that makes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from trajtune.algorithms import ALGORITHMS
from trajtune.configs import structured
from trajtune.data import REWARDS
from trajtune.errors import UserError, unknown
from trajtune.files import first_line
from trajtune.study.results import UNTUNED, ZERO_SHOT
from trajtune.suites import get_suite
from trajtune.training import TrainConfig
from trajtune.tunings import STD, TUNINGS, check_std


@dataclass(frozen=True)
class Source:
    """The pretrained agent of a suite, and the dataset that few-shot trajectories are drawn from."""

    agent: Path
    data: Path


@dataclass(frozen=True)
class Setting:
    """What finetuning is given: how many trajectories of which quality, and how it sees their rewards."""

    quality: str
    trajectories: int
    reward: str = "dense"


@dataclass(frozen=True)
class Method:
    """Algorithms under tunings, every pair, with one choice of options. A label tells choices apart."""

    algorithms: tuple[str, ...] = tuple(ALGORITHMS)
    tunings: tuple[str, ...] = tuple(TUNINGS)
    label: str = ""
    learning_rate: float | None = None
    """``None``: the tuning's own."""
    std: float = STD
    options: Mapping[str, Any] = field(default_factory=dict)
    tuning_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One algorithm x tuning x suite x data setting x seed; a zero-shot cell has no algorithm to speak of."""

    suite: str
    setting: Setting
    algorithm: str
    tuning: str
    seed: int
    method: Method

    @property
    def folder(self) -> Path:
        """Where its results lie, relative to the study's folder."""
        s, label = self.setting, self.method.label
        name = f"{self.algorithm}-{self.tuning}" + (f"-{label}" if label else "")
        return Path(self.suite, f"{s.quality}-{s.trajectories}-{s.reward}", name, f"seed-{self.seed}")


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
    episodes: int = 50
    training: TrainConfig = field(default_factory=TrainConfig)

    def cells(self) -> Iterator[Cell]:
        """Every cell once, zero-shot first in each suite, setting and seed."""
        zero = Method((ZERO_SHOT,), (UNTUNED,))
        for suite in self.suites:
            for setting in self.settings:
                for seed in self.seeds:
                    for method in (zero, *self.methods):
                        for algorithm in method.algorithms:
                            for tuning in method.tunings:
                                yield Cell(suite, setting, algorithm, tuning, seed, method)

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
        for setting in self.settings:
            if setting.trajectories < 1:
                raise UserError(f"trajectories must be at least 1, got {setting.trajectories}")
            if setting.reward not in REWARDS:
                raise unknown("reward", setting.reward, REWARDS)
        if self.episodes < 1:
            raise UserError(f"episodes must be at least 1, got {self.episodes}")
        for method in self.methods:
            _check_method(method)
        seen: set[Path] = set()
        for cell in self.cells():
            if cell.folder in seen:
                raise UserError(f"the study declares {cell.folder} twice: leave one out, or give its method a label")
            seen.add(cell.folder)

    def to_json(self) -> dict[str, Any]:
        """The resolved study, as it is saved beside its results."""
        sources = {name: {"agent": str(s.agent), "data": str(s.data)} for name, s in self.suites.items()}
        return {**asdict(self), "suites": sources}


def _check_method(method: Method) -> None:
    if not (method.algorithms and method.tunings):
        raise UserError("a method needs at least one algorithm and one tuning")
    for kind, names, choices in (
        ("algorithm", method.algorithms, ALGORITHMS),
        ("tuning", method.tunings, TUNINGS),
    ):
        for name in names:
            if name not in choices:
                raise unknown(kind, name, choices)
    if any(not (c.isalnum() or c in "-_.=") for c in method.label):
        raise UserError(f"label {method.label!r} becomes part of a folder's name: letters, digits and -_.= only")
    check_std(method.std)


def load_study(path: Path | str) -> Study:
    """Read a study from YAML; every wrong name or value in it is a ``UserError`` that says where.

    Paths in it are relative to the working directory, as those on a command line.
    """
    import yaml

    path = Path(path)
    try:
        value = yaml.load(path.read_text(), _loader())  # a SafeLoader
        json.dumps(value)  # dates, loops and the like have no place in options
    except FileNotFoundError:
        raise UserError(f"there is no study {path}") from None
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
