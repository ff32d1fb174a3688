"""What a study declares, and the cells that makes. Without torch."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from trajtune.algorithms import ALGORITHMS
from trajtune.data.setting import Setting, Target
from trajtune.errors import UserError, part
from trajtune.shipped import ASSET, shipped
from trajtune.study.cell import QUARTERS, Cell, Evaluation
from trajtune.study.selection import Selection
from trajtune.suites import SUITES, get_suite
from trajtune.suites.base import Suite
from trajtune.training.config import Recipe, TrainConfig
from trajtune.tunings import TUNINGS

ASKED: tuple[Target, ...] = ("best", "mean")
"""What zero-shot is asked for: both, whatever the settings say."""
RECORDED = "data"
"""Folder, in the working directory, of the data that a study records where it names none."""
MOST = 100_000
"""Cells of a study: more than that is a slip, such as a list of seeds that should have been one seed."""


@dataclass(frozen=True)
class Source:
    """The pretrained agent of a suite, and the dataset that few-shot trajectories are drawn from."""

    agent: Path | None = None
    """None: the agent that ships with the suite."""
    data: Path | None = None
    """None: what the suite's shipped experts do, recorded below ``data/`` when it is first needed."""
    suite: str = ""
    """Empty: the name it has in the study. Another name tells several agents, or data, of one suite apart."""

    def suite_under(self, name: str) -> str:
        """Return the suite that it is of, under a name in a study."""
        return self.suite or name

    def of(self, name: str, tasks: str) -> "FilledSource":
        """Return it with nothing left open, under a name in a study and for these tasks of its suite."""
        suite = self.suite_under(name)
        agent = Path(f"{ASSET}{suite}/agent") if self.agent is None else self.agent
        return FilledSource(
            agent, Path(RECORDED, f"{suite}-{_split(suite, tasks)}") if self.data is None else self.data
        )


@dataclass(frozen=True)
class FilledSource:
    """A source with nothing left open."""

    agent: Path
    data: Path

    def found(self) -> "FilledSource":
        """Return it with ``asset:NAME`` replaced by where that is."""
        return FilledSource(shipped(str(self.agent)), shipped(str(self.data)))


def _split(suite: str, tasks: str) -> str:
    """The smallest part of a suite that has the tasks: its test tasks, or all."""
    known = get_suite(suite)
    return "test" if set(known.select(tasks)) <= set(known.test) else "all"


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
    """By suite, or by another name where the source says which suite it is of."""
    settings: tuple[Setting, ...]
    methods: tuple[Method, ...] = (Method(),)
    tasks: str = "test"
    """test, train, all, or a list such as 0,3,7 or 4-7; of every suite."""
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
    selection: Selection | None = None
    """What is chosen first, on held-out training tasks: it adds methods to the study."""

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
        for name, source in self.suites.items():
            suite = source.suite_under(name)
            entry = name if name != suite else ""
            seen: set[Setting] = set()
            for setting in self.settings:
                untuned = dict.fromkeys([*(replace(setting, target=each) for each in ASKED), setting])
                fresh = [each for each in untuned if each not in seen]
                seen.update(fresh)
                for seed in self.seeds:
                    yield from (Cell(suite, each, seed, entry=entry) for each in fresh)
                    yield from (Cell(suite, setting, seed, recipe, label, entry) for recipe, label in tuned)

    def runs(self) -> Iterator[tuple[Cell, int]]:
        """Every cell on every task."""
        suites = {source.suite_under(name) for name, source in self.suites.items()}
        tasks = {name: get_suite(name).select(self.tasks) for name in suites}
        for cell in self.cells():
            yield from ((cell, task) for task in tasks[cell.suite])

    def check(self) -> None:
        """Raise a ``UserError`` for what cannot be run: unknown names, numbers out of range, a cell declared twice."""
        if not (self.suites and self.settings and self.methods and self.seeds):
            raise UserError("a study needs at least one suite, one setting, one method and one seed")
        pairs = sum(len(method.algorithms) * len(method.tunings) for method in self.methods)
        if (count := len(self.suites) * len(self.settings) * len(self.seeds) * pairs) > MOST:
            raise UserError(f"the study declares {count} cells: {MOST} is the most")
        if self.training.seed != 0:
            raise UserError("a study's seeds are its own field, seeds: leave seed out of training")
        for seed in self.seeds:
            replace(self.training, seed=seed)  # checks its range
        for name, source in self.suites.items():
            with part(f"study.suites.{name}"):
                known = _suite_of(name, source)
            with part("study.tasks"):
                known.select(self.tasks)
        _ = self.evaluation  # checks its numbers
        for i, method in enumerate(self.methods):
            with part(f"study.methods[{i}]"):
                _check_method(method, self.training)
        seen: set[Path] = set()
        for cell in self.cells():
            if cell.folder in seen:
                raise UserError(f"the study declares {cell.folder} twice: leave one out, or give its method a label")
            seen.add(cell.folder)

    def to_json(self) -> dict[str, Any]:
        """The study as it is saved beside its results; ``reading.load_study`` reads it."""
        told = _spelt(asdict(self))
        del told["training"]["seed"]
        return dict(told)


def _spelt(value: Any) -> Any:
    """The same with paths as words."""
    if isinstance(value, Mapping):
        return {name: _spelt(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_spelt(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def _suite_of(name: str, source: Source) -> Suite:
    """Return the suite that stands in a study under a name."""
    if source.suite not in ("", name):
        _check_label(name, "name")
        if not name or name in SUITES:
            raise UserError(f"{name!r} cannot stand for {source.suite}: choose a name that is no suite's")
    try:
        return get_suite(source.suite_under(name))
    except UserError as error:
        if source.suite or ":" in name or name in SUITES:
            raise
        raise UserError(f"{error}; a name of your own says suite: SUITE") from None


def _check_label(label: str, what: str) -> None:
    if any(not (c.isalnum() or c in "-_.=") for c in label):
        raise UserError(f"{what} {label!r} becomes part of a folder's name: letters, digits and -_.= only")


def _check_method(method: Method, training: TrainConfig) -> None:
    if not (method.algorithms and method.tunings):
        raise UserError("a method needs at least one algorithm and one tuning")
    _check_label(method.label, "label")
    for recipe in method.recipes(training):
        recipe.resolved()
