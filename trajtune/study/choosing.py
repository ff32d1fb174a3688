"""Choose options on held-out training tasks before a study begins, and keep all that was tried beside it.

A trial is a method of a small study of its own in the folder ``selection/SUITE``, run as any other: what is done there
is not done again, so the same call goes on where it was stopped and chooses the same.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trajtune.artifacts import AGENT, plain, read_header
from trajtune.errors import UserError, part
from trajtune.files import read_json, write_json
from trajtune.leases import held
from trajtune.shipped import shipped
from trajtune.statistics import mean_interval
from trajtune.study.cell import suite_folder
from trajtune.study.declaration import Method, Source, Study
from trajtune.study.results import Result, read_result
from trajtune.study.selection import RATE, STD, TUNING, Selection, Space

SELECTION, CHOICE, LEASE = "selection", "choice.json", "choosing.lease"
"""Folder of all that was tried, in a study's; and in it what was chosen, and who is at it."""
LABEL = "chosen"
Values = dict[str, Any]
"""One value of each option of a space."""
Runner = Callable[[Study, Path], None]
"""Run a study in a folder."""


@dataclass
class Trial:
    """One choice of options of an algorithm under a tuning, and what it was worth."""

    number: int
    values: Values
    scores: list[float] = field(default_factory=list)
    """Of every task, setting and seed: normalised returns, or plain ones where the references are not known."""
    state: str = "waiting"
    """complete, pruned or diverged."""

    @property
    def score(self) -> float:
        return sum(self.scores) / len(self.scores) if self.scores else -math.inf


def chosen(study: Study, folder: Path, run: Runner) -> Study:
    """Return the study with what its selection chooses for methods; choose it now, unless that is done."""
    if (selection := study.selection) is None:
        return study
    place = folder / SELECTION
    if (told := _told(place, study)) is None:
        with held(place / LEASE):
            told = _told(place, study) or _choose(study, selection, place, run)
    methods = [
        method(arm["algorithm"], arm["tuning"], arm["values"], LABEL)
        for arm in told["arms"]
        if arm["values"] is not None
    ]
    return replace(study, methods=(*study.methods, *methods), selection=None)


def method(algorithm: str, tuning: str, values: Values, label: str) -> Method:
    """Return the method that has these values."""
    options = {n: v for n, v in values.items() if n not in (RATE, STD) and not n.startswith(TUNING)}
    moved = {n.removeprefix(TUNING): v for n, v in values.items() if n.startswith(TUNING)}
    std = values.get(STD, Method.std)
    return Method((algorithm,), (tuning,), label, values.get(RATE), std, options, moved)


def trial_label(number: int) -> str:
    """Label of a trial's method."""
    return f"trial-{number}"


def trial_folder(place: Path, suite: str) -> Path:
    """Where the runs of trials on a suite are."""
    return place / suite_folder(suite)


def trial_studies(study: Study, trials: Sequence[Method], seeds: Sequence[int]) -> Iterator[tuple[str, Study]]:
    """The small study of each suite that judges some trials on its held-out tasks."""
    selection = study.selection
    assert selection is not None
    for each in selection.held_out:
        yield (
            each.suite,
            Study(
                {each.suite: Source(each.agent, each.data)},
                selection.settings or study.settings,
                tuple(trials),
                ",".join(map(str, each.tasks)),
                tuple(seeds),
                selection.episodes,
                points=0,
                training=selection.training or study.training,
            ),
        )


def first_choices(selection: Selection) -> list[Method]:
    """Return as many methods as there may be trials, for whoever wants to count them."""
    found = []
    for algorithm, tuning, space in selection.arms():
        count = math.prod(len(c.grid) for c in space.options.values()) if selection.sampler == "grid" else 0
        values = {name: choice.grid[0] if choice.grid else choice.low for name, choice in space.options.items()}
        numbers = range(count or selection.trials)
        found += [method(algorithm, tuning, values, trial_label(number)) for number in numbers]
    return found


def check_spaces(study: Study) -> None:
    """Raise a ``UserError`` for an option that its algorithms and tunings do not have, or cannot have that value."""
    selection = study.selection
    for i, space in enumerate(selection.spaces if selection else ()):
        with part(f"study.selection.spaces[{i}]"):
            for values in _ends(space):
                for algorithm, tuning in itertools.product(space.algorithms, space.tunings):
                    next(method(algorithm, tuning, values, "").recipes(study.training)).resolved()


def _ends(space: Space) -> Iterator[Values]:
    """Values of all options together that have each of a grid, and both ends of each range, at least once."""
    each = {name: c.grid or (c.low, c.high) for name, c in space.options.items()}
    for i in range(max(map(len, each.values()))):
        yield {name: values[i % len(values)] for name, values in each.items()}


def check(study: Study) -> None:
    """Raise a ``UserError`` for a selection that cannot be made, before anything is."""
    from trajtune.agents.saving import trained_on

    selection = study.selection
    assert selection is not None
    check_spaces(study)
    for each in selection.held_out:
        known = trained_on(read_header(shipped(str(each.agent)), AGENT))
        if not known:
            raise UserError(f"{each.agent} does not say which tasks it was pretrained on: nothing is chosen with it")
        if seen := [task for task in each.tasks if task in known]:
            raise UserError(f"{each.agent} was pretrained on task {seen[0]}: options are chosen on tasks new to it")
    if selection.sampler != "grid" and find_spec("optuna") is None:
        raise UserError("this selection needs Optuna: pip install -c constraints.txt 'trajtune[search]'")


def arms_of(folder: Path) -> list[dict[str, Any]]:
    """Return what was chosen in a study's folder for each algorithm x tuning, and of what; nothing without a choice."""
    path = folder / SELECTION / CHOICE
    return list(read_json(path, "choice of options")["arms"]) if path.exists() else []


def _told(place: Path, study: Study) -> dict[str, Any] | None:
    """Return what was chosen here before; a ``UserError`` if it was another selection's."""
    if not (place / CHOICE).exists():
        return None
    told = read_json(place / CHOICE, "choice of options")
    if told.get("asked") != _asked(study):
        raise UserError(f"{place / CHOICE} is of another selection: choose another folder, or move it away")
    return told


def _asked(study: Study) -> dict[str, Any]:
    """All that decides the choice."""
    told = study.to_json()
    return plain({name: told[name] for name in ("selection", "settings", "training")})


def _choose(study: Study, selection: Selection, place: Path, run: Runner) -> dict[str, Any]:
    """Try, choose, write it down and return it."""
    check(study)
    judge = _Judge(study, place, run)
    arms = list(selection.arms())
    if selection.sampler == "grid":
        tried = [[Trial(i, values) for i, values in enumerate(_all_of(space))] for _, _, space in arms]
        judge([(arm, trial) for arm, trials in zip(arms, tried, strict=True) for trial in trials], selection.seeds)
    else:
        from trajtune.study.sampling import sampled

        tried = sampled(selection, arms, place, judge)
    arms_told = []
    for (algorithm, tuning, _), trials in zip(arms, tried, strict=True):
        complete = [trial for trial in trials if trial.state == "complete"]
        best = max(complete, key=lambda trial: trial.score, default=None)  # the first of equals
        arms_told.append(
            {
                "algorithm": algorithm,
                "tuning": tuning,
                "values": best and best.values,
                "score": best and best.score,
                "interval": best and mean_interval(best.scores),
                "trials": [{**asdict(t), "score": t.score if t.scores else None} for t in trials],
            }
        )
    told = {"asked": _asked(study), "arms": arms_told, "runs": judge.runs, "seconds": judge.seconds}
    write_json(place / CHOICE, told)
    return told


def _all_of(space: Space) -> list[Values]:
    """Every combination of a grid."""
    names = list(space.options)
    return [dict(zip(names, each, strict=True)) for each in itertools.product(*(space.options[n].grid for n in names))]


Arm = tuple[str, str, Space]


class _Judge:
    """Runs trials and reads what came of them."""

    def __init__(self, study: Study, place: Path, run: Runner) -> None:
        self._study, self._place, self._run = study, place, run
        self.runs, self.seconds = 0, 0.0
        """What all trials took: a cost that is to be told."""
        self._seen: set[Path] = set()

    def __call__(self, trials: Sequence[tuple[Arm, Trial]], seeds: Sequence[int]) -> None:
        """Give every trial its scores over these seeds; one that diverged or failed is out."""
        methods = [method(a, t, trial.values, trial_label(trial.number)) for (a, t, _), trial in trials]
        found: dict[tuple[str, str, str], list[Result]] = {}
        for suite, study in trial_studies(self._study, methods, seeds):
            folder = trial_folder(self._place, suite)
            self._run(study, folder)
            for cell, task in study.runs():
                path = folder / cell.place(task)
                result = read_result(path)
                if path not in self._seen:
                    self._seen.add(path)
                    self.runs += 1
                    self.seconds += result.finetune_seconds + result.evaluate_seconds
                found.setdefault((cell.algorithm, cell.tuning, cell.label), []).append(result)
        for (algorithm, tuning, _), trial in trials:
            results = found[algorithm, tuning, trial_label(trial.number)]
            scored = [result for result in results if result.scored]
            trial.state = "complete" if len(scored) == len(results) else "diverged"
            trial.scores = [_score(result) for result in scored]


def _score(result: Result) -> float:
    assert result.mean_return is not None
    return result.mean_return if result.normalised is None else result.normalised
