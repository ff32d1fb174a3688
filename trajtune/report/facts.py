"""Cells as facts: what each is of, by name, and its scores, so that claims can ask for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trajtune.report.index import Place
from trajtune.report.scores import runs_of
from trajtune.report.uncertainty import Runs
from trajtune.study.cell import ZERO_SHOT
from trajtune.study.results import Result

TOLD_BY_LABEL = "alpha"
"""An option that tells cells apart which have it in their label, too: who asks for it does not ask for the label."""
TOLD_BY_GROUP = "size"
"""Likewise the size of the agent, and the study's name for it."""


@dataclass(frozen=True)
class Fact:
    """The scores of one cell."""

    about: Mapping[str, Any]
    """suite, group, algorithm, label, tuning, quality, trajectories, reward, target, alpha, size."""
    runs: Runs = field(repr=False)

    @property
    def suite(self) -> str:
        return str(self.about["suite"])

    @property
    def tuned(self) -> bool:
        return bool(self.about["algorithm"] != ZERO_SHOT)

    def context(self, named: set[str]) -> tuple[Any, ...]:
        """Return all that it is of but for what is named: cells of one context differ in nothing else."""
        left_out = {*named, TOLD_BY_LABEL, TOLD_BY_GROUP}
        if TOLD_BY_LABEL in named:
            left_out.add("label")
        if TOLD_BY_GROUP in named:
            left_out.add("group")
        return self.suite, *(value for name, value in self.about.items() if name not in left_out)


def facts(places: Sequence[Place]) -> list[Fact]:
    """Return every cell's, in normalised scores or success; in returns only if there is but one suite.

    Zero-shot is under every tuning what it is. A cell with a run that diverged or failed has no fair mean: it is
    left out.
    """
    own = [place for place in places if place.unit != "return"]
    if not own and len({place.group for place in places}) == 1:
        own = list(places)
    found = []
    for place in own:
        for (algorithm, label, tuning), results in place.tuned.items():
            found += _fact(place, algorithm, label, tuning, results)
        if place.zero is not None:
            for label, tuning in dict.fromkeys((label, tuning) for _, label, tuning in place.tuned):
                found += _fact(place, ZERO_SHOT, label, tuning, place.cells[place.zero])
    return found


def _fact(place: Place, algorithm: str, label: str, tuning: str, results: Sequence[Result]) -> list[Fact]:
    if not results or not all(r.scored for r in results):
        return []
    setting, recipe = place.setting, results[0].run.recipe
    about = {
        "suite": results[0].run.suite,
        "group": place.group,
        "algorithm": algorithm,
        "label": label,
        "tuning": tuning,
        "quality": setting.quality,
        "trajectories": setting.trajectories,
        "reward": setting.reward,
        "target": setting.target,
        "alpha": None if recipe is None else recipe.options.get("alpha"),
        "size": results[0].agent_size,
    }
    return [Fact(about, runs_of(results, place.unit))]
