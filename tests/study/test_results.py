"""Result files: read as they were written, and a line for everything else."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trajtune.artifacts import signature
from trajtune.data.setting import Setting
from trajtune.errors import UserError
from trajtune.study.cell import Evaluation, Run
from trajtune.study.results import Machine, Point, Result, read_result, write_result
from trajtune.training.config import Recipe

RUN = Run("point", 5, Setting("medium", 5), 0, Recipe("sft", "full"), "agent", "data", Evaluation(episodes=2))
CURVE = (
    Point(0, (-9.0, -7.0), -8.0, 0.2, 0.5, {}),
    Point(10, (-3.0, -1.0), -2.0, 0.8, 1.0, {"loss": 0.5}),
    Point(20, (-4.0, -1.0), -2.5, 0.75, 1.0, {"loss": 0.25}),
)
RESULT = Result(
    RUN,
    "",
    "45 degrees",
    "return",
    returns=(-4.0, -1.0),
    successes=(True, True),
    lengths=(30, 30),
    mean_return=-2.5,
    normalised=0.75,
    success=1.0,
    references={"random": -10.0, "expert": 0.0},
    curve=CURVE,
    machine=Machine("a processor", 1, {"torch": "2"}),
)


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "task-5.json"
    for each in (RESULT, replace(RESULT, run=replace(RUN, recipe=None)), Result(RUN, "", "x", "return", failed="x")):
        write_result(path, each)
        assert read_result(path) == each


def test_best_stands_beside_last() -> None:
    assert (RESULT.best, RESULT.last) == (CURVE[1], CURVE[2])
    assert RESULT.metrics == {"loss": 0.25}
    assert RESULT.normalised_returns == pytest.approx([0.6, 0.9])
    assert Result(RUN, "", "x", "return", failed="x").best is None


@pytest.mark.parametrize(
    ("total", "points", "steps"),
    [(100, 3, [0, 25, 50, 75, 100]), (100, 0, [0, 100]), (2, 3, [0, 1, 2]), (300, 1, [0, 150, 300])],
)
def test_a_curve_has_start_end_and_what_lies_between(total: int, points: int, steps: list[int]) -> None:
    assert Evaluation(points=points).steps(total) == steps


def resigned(value: dict[str, Any]) -> str:
    signed = {name: each for name, each in value.items() if name != "digest"}
    return json.dumps({**signed, "digest": signature(signed)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace('"mean_return": -2.5', '"mean_return": -1.5'), "was edited: it does not match"),
        (lambda text: text.replace('"format": "trajtune-result"', '"format": "other"'), "is not a trajtune result"),
        (lambda text: text.replace('"version": 3', '"version": 2'), "has result version 2; this trajtune reads 3"),
        (lambda text: text.replace("{", "", 1), "is not readable as JSON"),
        (lambda text: resigned({**json.loads(text), "label": 5}), "is damaged: result.label must be of type str"),
        (lambda text: resigned({**json.loads(text), "mood": 5}), "is damaged: unknown name in result 'mood'"),
        (
            lambda text: resigned({**json.loads(text), "returns": [float("nan")]}),
            "result.returns[0] must be a finite number",
        ),
        (lambda text: resigned({**json.loads(text), "returns": []}), "is damaged: it has no returns"),
    ],
)
def test_other_files_are_named(tmp_path: Path, change: Callable[[str], str], message: str) -> None:
    path = tmp_path / "task-5.json"
    write_result(path, RESULT)
    before = path.read_text()
    path.write_text(change(before))
    assert path.read_text() != before
    with pytest.raises(UserError, match=r"task-5\.json") as error:
        read_result(path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
