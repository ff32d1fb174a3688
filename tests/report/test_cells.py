"""Summaries against numbers worked out by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from trajtune.cli import main
from trajtune.errors import UserError
from trajtune.report import draw, summarise, to_markdown
from trajtune.study.results import Result, write_result


def result(algorithm: str, task: int, returns: tuple[float, ...], diverged: str | None = None, seed: int = 0) -> Result:
    """Task 1 runs from -100 to 0, task 2 from 0 to 10: normalised returns are easy to see."""
    low, high = {1: (-100.0, 0.0), 2: (0.0, 10.0)}[task]
    mean = sum(returns) / len(returns) if returns else None
    return Result(
        "point", "medium", 5, "dense", algorithm, "none" if algorithm == "zero-shot" else "full", "", seed, task,
        f"task {task}", {}, returns, mean, None if mean is None else (mean - low) / (high - low),
        {"random": low, "expert": high}, high, 2.0 * task, 1.0, {}, diverged,
    )  # fmt: skip


ZERO = [result("zero-shot", 1, (-60.0, -40.0)), result("zero-shot", 2, (4.0, 6.0))]


def test_gains_are_paired_and_averaged_over_tasks() -> None:
    """Episode by episode: task 1 gains 0.3 and 0.3, task 2 gains 0.1 and 0.1, whatever the episodes' own level."""
    [comparison] = summarise([*ZERO, result("sft", 1, (-30.0, -10.0)), result("sft", 2, (5.0, 7.0))])
    [cell] = comparison.cells
    assert comparison.tasks == ("task 1", "task 2")
    assert comparison.zero_shot is not None
    assert comparison.zero_shot.normalised == pytest.approx(0.5)
    assert cell.normalised == pytest.approx(0.7)
    assert cell.mean_return == pytest.approx(-7.0)
    assert cell.gain == pytest.approx(0.2)
    assert cell.interval == pytest.approx((0.2, 0.2))  # nothing varies within a task
    assert (cell.verdict, cell.runs, cell.diverged, cell.finetune_seconds) == ("better", 2, 0, 3.0)


@pytest.mark.parametrize(
    ("returns", "verdict"), [((-90.0, -70.0), "worse"), ((-60.0, -40.0), "same"), ((-80.0, -20.0), "same")]
)
def test_verdicts_ask_the_interval(returns: tuple[float, ...], verdict: str) -> None:
    [comparison] = summarise([ZERO[0], result("sft", 1, returns)])
    assert comparison.cells[0].verdict == verdict


def test_a_run_without_its_zero_shot_has_no_gain() -> None:
    [comparison] = summarise([result("sft", 1, (-30.0, -10.0))])
    assert comparison.zero_shot is None
    assert (comparison.cells[0].gain, comparison.cells[0].interval) == (None, None)


def test_gains_compare_the_same_seed() -> None:
    zero = [result("zero-shot", 1, (-60.0, -60.0), seed=0), result("zero-shot", 1, (-20.0, -20.0), seed=1)]
    tuned = [result("sft", 1, (-50.0, -50.0), seed=0), result("sft", 1, (-20.0, -20.0), seed=1)]
    assert summarise([*zero, *tuned])[0].cells[0].gain == pytest.approx(0.05)


def test_diverged_runs_are_counted_not_scored() -> None:
    [comparison] = summarise([*ZERO, result("sft", 1, (-30.0, -10.0)), result("sft", 2, (), "sft x full diverged")])
    [cell] = comparison.cells
    assert (cell.runs, cell.diverged) == (1, 1)
    assert cell.normalised == pytest.approx(0.8)
    text = to_markdown([comparison])
    assert "0.80 (1 diverged)" in text  # better on what is left is not better
    assert "| sft x full | 1 + 1 diverged | -20.0 | 0.800 | 0.300 | [0.300, 0.300] | diverged | 3.0 | 1.0 |" in text


def test_one_episode_says_nothing_about_its_spread() -> None:
    [comparison] = summarise([result("zero-shot", 1, (-60.0,)), result("sft", 1, (-30.0,))])
    cell = comparison.cells[0]
    assert cell.gain == pytest.approx(0.3)
    assert (cell.interval, cell.verdict) == (None, "")


@pytest.mark.parametrize(
    ("changed", "name"),
    [({"run": {"agent": "other"}}, "agent"), ({"returns": (-30.0, -10.0, -20.0)}, "number of episodes")],
)
def test_only_like_is_compared_with_like(changed: dict, name: str) -> None:
    zero = replace(ZERO[0], run={"agent": "this"})
    tuned = replace(result("sft", 1, (-30.0, -10.0)), run={"agent": "this", "std": 0.2})
    assert summarise([zero, tuned])[0].cells[0].gain == pytest.approx(0.3)
    with pytest.raises(UserError, match=f"sft x full on task 1 of point is of another {name} than its zero-shot"):
        summarise([zero, replace(tuned, **changed)])


def test_an_algorithm_may_be_the_baseline() -> None:
    """qp-sft is compared with sft under the same tuning; sft with nothing; a cell without a counterpart has no gain."""
    lone = replace(result("dpo", 1, (-30.0, -10.0)), tuning="prompt")
    runs = [*ZERO, result("sft", 1, (-50.0, -30.0)), result("qp-sft", 1, (-30.0, -20.0)), lone]
    [comparison] = summarise(runs, "sft")
    sft, qp, dpo = comparison.cells
    assert (sft.gain, dpo.gain) == (None, None)
    assert qp.gain == pytest.approx(0.15)
    assert "minus sft" in to_markdown([comparison])
    with pytest.raises(UserError, match="unknown baseline 'stf': choose one of zero-shot, sft"):
        summarise(runs, "stf")


def test_a_picture_of_a_study_that_has_just_begun(tmp_path: Path) -> None:
    begun = [replace(ZERO[0], suite="ant-dir"), *ZERO, result("sft", 1, (-30.0, -10.0))]
    draw(summarise(begun), tmp_path / "cells.png")
    assert (tmp_path / "cells.png").exists()
    with pytest.raises(UserError, match="nothing to draw yet"):
        draw(summarise(ZERO), tmp_path / "none.png")


def test_markdown_and_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "study.json").write_text('{"methods": [{"algorithms": ["sft"], "tunings": ["full"], "label": ""}]}')
    for each in (*ZERO, result("sft", 1, (-30.0, -10.0)), result("sft", 2, (5.0, 7.0))):
        write_result(tmp_path / f"point/medium-5-dense/{each.algorithm}/seed-0/task-{each.task}.json", each)
    picture = tmp_path / "cells.png"
    arguments = ["report", str(tmp_path), "--markdown", str(tmp_path / "table.md"), "--figure", str(picture)]
    assert main(arguments) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "better" in capsys.readouterr().out
    text = (tmp_path / "table.md").read_text()
    assert "Tasks: task 1, task 2. Zero-shot: 0.500 (-22.5)." in text
    assert "| sft | 0.70 ↑ |" in text
    assert main(["report", str(tmp_path / "nothing")]) == 2
    assert "is not a study" in capsys.readouterr().err
