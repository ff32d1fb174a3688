"""Result files of a study: one a run, signed, readable without torch."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from trajtune.artifacts import signature
from trajtune.configs import structured
from trajtune.errors import UserError
from trajtune.files import read_json, write_json
from trajtune.statistics import normalised
from trajtune.study.cell import Run
from trajtune.training.config import Recipe

FORMAT, VERSION = "trajtune-result", 3


@dataclass(frozen=True)
class Point:
    """What a run had reached after some updates, over the first episodes of its evaluation."""

    step: int
    returns: tuple[float, ...]
    mean_return: float
    normalised: float | None
    success: float | None
    metrics: Mapping[str, float]
    """The last that training had logged by then."""


@dataclass(frozen=True)
class Retained:
    """The score on a task of pretraining, before and after finetuning on another: what was forgotten of it."""

    task: int
    before: float
    """Mean return of the agent, over the first episodes of the evaluation."""
    after: float
    """The same of the tuned policy."""
    normalised_before: float | None
    normalised_after: float | None


@dataclass(frozen=True)
class Machine:
    """Where a run was done. It decides no number that two machines should not agree on, but for rounding."""

    processor: str
    threads: int
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Result:
    """What one cell gave on one task. One that diverged or failed says so, and has no returns."""

    run: Run
    """What decides all numbers below, but for those that say how long it took."""
    label: str
    name: str
    """The task in words."""
    metric: str
    """What a score of this suite is first of all: return or success."""
    returns: tuple[float, ...] = ()
    """Of every episode at the end of training, in the order of the episode seeds."""
    successes: tuple[bool, ...] | None = None
    """The same episodes; None where the suite does not say what success is."""
    lengths: tuple[int, ...] = ()
    mean_return: float | None = None
    normalised: float | None = None
    """None where the references are not known."""
    success: float | None = None
    few_shot: str | None = None
    """Digest of the few-shot set and its brief."""
    references: Mapping[str, float] | None = None
    target_return: float | None = None
    """What the agent was asked for."""
    curve: tuple[Point, ...] = ()
    """From start to end of training; for zero-shot one point."""
    forgetting: tuple[Retained, ...] = ()
    """Empty unless it was asked for, and for zero-shot."""
    achieved: tuple[tuple[float, ...], ...] = ()
    """Mean over the episodes of what was achieved at every step, [T][D]; empty unless it was asked for."""
    finetune_seconds: float = 0.0
    """Of one thread, wall clock, evaluations along the way left out; it depends on what else the machine did."""
    evaluate_seconds: float = 0.0
    """Of the final score."""
    machine: Machine | None = None
    agent_size: int | None = None
    """Numbers that the pretrained agent is made of; None in results of before they were counted."""
    trainable: int | None = None
    """Numbers that the tuning may move; None for zero-shot, too."""
    entry: str = ""
    """The study's name for agent and data, where it is not the suite's."""
    diverged: str | None = None
    """Why training or acting gave a number that is not finite."""
    failed: str | None = None
    """Why it could not be run to its end."""

    @property
    def group(self) -> str:
        """What it is compared within: the study's name for agent and data."""
        return self.entry or self.run.suite

    @property
    def scored(self) -> bool:
        return self.diverged is None and self.failed is None

    @property
    def last(self) -> Point | None:
        """The end of the curve: the final score, over the curve's episodes."""
        return self.curve[-1] if self.curve else None

    @property
    def best(self) -> Point | None:
        """The point of the curve with the highest mean return, the first of equals.

        It is chosen on the episodes that it is judged by: to be shown beside the last, never instead.
        """
        return max(self.curve, key=lambda point: point.mean_return) if self.curve else None

    @property
    def metrics(self) -> Mapping[str, float]:
        """The last that training logged."""
        return self.curve[-1].metrics if self.curve else {}

    @cached_property
    def normalised_returns(self) -> list[float] | None:
        """Every episode's return between random (0) and expert (1); None where that is not known."""
        values = [normalised(value, self.references or {}) for value in self.returns]
        return [v for v in values if v is not None] or None


def write_result(path: Path, result: Result) -> None:
    """Write one result file, signed over all that it says."""
    value = {"format": FORMAT, "version": VERSION, **asdict(result)}
    write_json(path, {**value, "digest": signature(value)})


def _with_shared(content: dict[str, Any]) -> dict[str, Any]:
    """Make what thousands of results have in common once."""
    run = content.get("run")
    if isinstance(run, dict) and isinstance(run.get("recipe"), dict):
        content = {**content, "run": {**run, "recipe": _shared(Recipe, json.dumps(run["recipe"]), "result.run.recipe")}}
    if isinstance(content.get("machine"), dict):
        content = {**content, "machine": _shared(Machine, json.dumps(content["machine"]), "result.machine")}
    return content


@lru_cache(maxsize=10_000)
def _shared(kind: Any, text: str, where: str) -> Any:
    return structured(kind, json.loads(text), where)


def read_result(path: Path) -> Result:
    """Read one result file; anything else is a ``UserError`` that names it."""
    return result_of(read_json(path, "result"), path)


def result_of(value: dict[str, Any], path: Path | str) -> Result:
    """Return the result that a file's content is, all of it checked; ``path`` is where errors say it stood."""
    if value.get("format") != FORMAT:
        raise UserError(f"{path} is not a trajtune result")
    if (version := value.get("version")) != VERSION:
        raise UserError(f"{path} has result version {version}; this trajtune reads {VERSION}: run the study anew")
    if value.get("digest") != signature({name: each for name, each in value.items() if name != "digest"}):
        raise UserError(f"{path} is damaged or was edited: it does not match its own digest; delete it to run it again")
    try:
        content = {name: each for name, each in value.items() if name not in ("format", "version", "digest")}
        result: Result = structured(Result, _with_shared(content), "result")
    except UserError as error:
        raise UserError(f"{path} is damaged: {error}; delete it to run it again") from None
    if result.scored and not result.returns:
        raise UserError(f"{path} is damaged: it has no returns; delete it to run it again")
    return result
