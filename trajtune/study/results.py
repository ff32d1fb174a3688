"""Result files of a study: one a cell and task, readable without torch."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trajtune.configs import structured
from trajtune.errors import UserError
from trajtune.files import differing, read_json, write_json
from trajtune.statistics import normalised

FORMAT, VERSION = "trajtune-result", 1
STUDY = "study.json"
ZERO_SHOT, UNTUNED = "zero-shot", "none"
"""Algorithm and tuning of a zero-shot cell."""


@dataclass(frozen=True)
class Result:
    """What one cell gave on one task. A cell that diverged has a message, and no returns."""

    suite: str
    quality: str
    trajectories: int
    reward: str
    algorithm: str
    tuning: str
    label: str
    seed: int
    task: int
    name: str
    """The task in words."""
    run: Mapping[str, Any]
    """What decides the numbers beside the fields above: digests of agent and data, number format, options, budget."""
    returns: tuple[float, ...]
    """Final return of every episode, in the order of the episode seeds."""
    mean_return: float | None
    normalised: float | None
    references: Mapping[str, float]
    target_return: float
    """What the agent was asked for: the best return of the few-shot set."""
    finetune_seconds: float
    """Of one thread, wall clock; it depends on what else the machine did."""
    evaluate_seconds: float
    metrics: Mapping[str, float]
    """The last that finetuning logged."""
    diverged: str | None = None

    @property
    def normalised_returns(self) -> list[float] | None:
        """Every episode's return between random (0) and expert (1); None where that is not known."""
        values = [normalised(value, self.references) for value in self.returns]
        return [v for v in values if v is not None] or None


def write_result(path: Path, result: Result) -> None:
    """Write one result file."""
    write_json(path, {"format": FORMAT, "version": VERSION, **asdict(result)})


def read_result(path: Path) -> Result:
    """Read one result file; anything else is a ``UserError`` that names it."""
    value = read_json(path, "result")
    if value.pop("format", None) != FORMAT:
        raise UserError(f"{path} is not a trajtune result")
    if (version := value.pop("version", None)) != VERSION:
        raise UserError(f"{path} has result version {version}; this trajtune reads {VERSION}")
    try:
        result: Result = structured(Result, value, "result")
    except UserError as error:
        raise UserError(f"{path} is damaged: {error}; delete it to run it again") from None
    if result.diverged is None and not (result.returns and all(map(math.isfinite, result.returns))):
        raise UserError(f"{path} is damaged: its returns are not finite numbers; delete it to run it again")
    return result


def read_results(folder: Path | str) -> list[Result]:
    """Read every result below a study's folder, in the order in which the study declares its cells, zero-shot first."""
    root = Path(folder)
    order = _order(root)
    results = [read_result(path) for path in sorted(root.glob("*/*/*/seed-*/task-*.json"))]
    if not results:
        raise UserError(f"{root} has no results yet")

    def place(r: Result) -> tuple[bool, int, int, int]:
        return r.algorithm != ZERO_SHOT, order.get((r.algorithm, r.tuning, r.label), len(order)), r.seed, r.task

    return sorted(results, key=place)


def _order(root: Path) -> dict[tuple[str, str, str], int]:
    """The place of each algorithm x tuning in ``study.json``."""
    study = read_json(root / STUDY, "study")
    try:
        names = [(a, t, str(m["label"])) for m in study["methods"] for a in m["algorithms"] for t in m["tunings"]]
        return {name: i for i, name in enumerate(names)}
    except (KeyError, TypeError):
        raise UserError(f"{root / STUDY} is damaged: it does not list the study's methods") from None


def differences(result: Result, identity: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """Return the names under which a result differs from the one wanted: in its own fields, and in its run."""
    wanted = json.loads(json.dumps(run))
    other = [key for key, value in identity.items() if getattr(result, key) != value]
    return other + differing(result.run, wanted)
