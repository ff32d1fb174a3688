"""Summaries against numbers worked out by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trajtune.artifacts import STUDY, finish
from trajtune.data.setting import Setting, Target
from trajtune.errors import UserError
from trajtune.report.cells import Comparison, summarise
from trajtune.report.cells_table import cells_tables
from trajtune.report.table import markdown
from trajtune.study.cell import Evaluation, Run
from trajtune.study.results import Point, Result, Retained, write_result
from trajtune.study.stored import read_results
from trajtune.training.config import Recipe


def result(
    algorithm: str,
    task: int,
    returns: tuple[float, ...],
    diverged: str | None = None,
    seed: int = 0,
    target: Target = "best",
) -> Result:
    """Task 1 runs from -100 to 0, task 2 from 0 to 10: normalised returns are easy to see."""
    low, high = {1: (-100.0, 0.0), 2: (0.0, 10.0)}[task]
    mean = sum(returns) / len(returns) if returns else None
    recipe = None if algorithm == "zero-shot" else Recipe(algorithm, "full")
    run = Run("point", task, Setting("medium", 5, target=target), seed, recipe, "agent", "data", Evaluation(episodes=2))
    return Result(
        run,
        "",
        f"task {task}",
        "return",
        returns=returns,
        mean_return=mean,
        normalised=None if mean is None else (mean - low) / (high - low),
        references={"random": low, "expert": high},
        finetune_seconds=2.0 * task,
        evaluate_seconds=1.0,
        diverged=diverged,
    )


def of(result: Result, **changed: Any) -> Result:
    """The same with another run."""
    return replace(result, run=replace(result.run, **changed))


def to_markdown(comparisons: list[Comparison]) -> str:
    return "\n".join(map(markdown, cells_tables(comparisons)))


ZERO = [result("zero-shot", 1, (-60.0, -40.0)), result("zero-shot", 2, (4.0, 6.0))]


def test_gains_are_paired_and_averaged_over_tasks() -> None:
    """Episode by episode: task 1 gains 0.3 and 0.3, task 2 gains 0.1 and 0.1, whatever the episodes' own level."""
    [comparison] = summarise([*ZERO, result("sft", 1, (-30.0, -10.0)), result("sft", 2, (5.0, 7.0))])
    [cell] = comparison.cells
    assert comparison.tasks == ("task 1", "task 2")
    assert comparison.zero_shot is not None
    assert comparison.zero_shot.score == pytest.approx(0.5)
    assert cell.score == pytest.approx(0.7)
    assert cell.mean_return == pytest.approx(-7.0)
    assert cell.gain == pytest.approx(0.2)
    assert cell.interval == pytest.approx((0.2, 0.2))  # nothing varies within a task
    assert (cell.verdict, cell.runs, cell.diverged, cell.finetune_seconds) == ("same", 2, 0, 3.0)
    assert cell.p == 0.25  # two episodes of two tasks, all better: a sign test says no more


@pytest.mark.parametrize(
    ("returns", "verdict"), [((-90.0, -70.4), "worse"), ((-60.0, -40.0), "same"), ((-80.0, -20.0), "same")]
)
def test_verdicts_ask_the_interval(returns: tuple[float, ...], verdict: str) -> None:
    [comparison] = summarise([ZERO[0], result("sft", 1, returns)])
    assert comparison.cells[0].verdict == verdict


def test_gains_are_over_the_better_zero_shot() -> None:
    """Asked for the mean it is better here by 0.1; but not where it has been run on fewer tasks."""
    mean = [result("zero-shot", 1, (-50.0, -30.0), target="mean"), result("zero-shot", 2, (5.0, 7.0), target="mean")]
    tuned = [result("sft", 1, (-30.0, -10.0)), result("sft", 2, (5.0, 7.0))]
    [comparison] = summarise([*ZERO, *mean, *tuned])
    assert [zero.label for zero in comparison.zero_shots] == ["best", "mean"]
    assert comparison.zero_shot == comparison.zero_shots[1]
    assert comparison.cells[0].gain == pytest.approx(0.1)
    text = to_markdown([comparison])
    assert "| zero-shot (the best) | 2 | -22.5 | 0.500 |" in text
    assert "| zero-shot (the mean) | 2 | -17.0 | 0.600 |" in text
    [begun] = summarise([*ZERO, mean[0], *tuned])
    assert begun.zero_shot == begun.zero_shots[0] and begun.cells[0].gain == pytest.approx(0.2)


def test_two_targets_of_the_same_data_share_zero_shot() -> None:
    mean = result("zero-shot", 1, (-40.0, -40.0), target="mean")
    tuned = [result("sft", 1, (-30.0, -30.0)), result("sft", 1, (-20.0, -20.0), target="mean")]
    best, asked = summarise([ZERO[0], mean, *tuned])
    assert (best.setting.target, asked.setting.target) == ("best", "mean") and best.zero_shots == asked.zero_shots
    assert [each.cells[0].gain for each in (best, asked)] == pytest.approx([0.1, 0.2])
    assert "5 medium trajectories, asked for the mean" in to_markdown([asked])


def test_a_cell_beside_its_own_start_and_what_it_forgot() -> None:
    """For a tuned prompt, the start is zero-shot under the same one prompt."""
    curve = (Point(0, (-60.0,), -60.0, 0.4, None, {}), Point(3, (-35.0,), -35.0, 0.65, None, {}))
    kept = (Retained(7, -20.0, -30.0, 0.8, 0.7), Retained(8, 6.0, 8.0, 0.6, 0.8))
    [comparison] = summarise([ZERO[0], replace(result("sft", 1, (-30.0, -10.0)), curve=curve, forgetting=kept)])
    [cell] = comparison.cells
    assert (cell.moved, cell.forgotten) == (pytest.approx(0.25), pytest.approx(-0.05))
    assert "| minus its start | best - last | forgotten |" in to_markdown([comparison])
    bare = replace(result("sft", 1, (-30.0, -10.0)), forgetting=(Retained(7, -20.0, -30.0, None, None), *kept[1:]))
    assert summarise([bare])[0].cells[0].forgotten == pytest.approx(4.0)


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
    assert cell.score == pytest.approx(0.8)
    text = to_markdown([comparison])
    assert "| sft x full | 1 + 1 diverged | -20.0 | 0.800 | 0.300 | [0.300, 0.300] | 0.500 | diverged |" in text


def test_one_episode_says_nothing_about_its_spread() -> None:
    [comparison] = summarise([result("zero-shot", 1, (-60.0,)), result("sft", 1, (-30.0,))])
    cell = comparison.cells[0]
    assert cell.gain == pytest.approx(0.3)
    assert (cell.interval, cell.verdict) == (None, "")


@pytest.mark.parametrize(
    ("changed", "name"),
    [({"agent": "other"}, "agent"), ({"evaluation": Evaluation(episodes=2, precision="fp32")}, "precision")],
)
def test_only_like_is_compared_with_like(changed: dict[str, Any], name: str) -> None:
    zero = ZERO[0]
    tuned = of(result("sft", 1, (-30.0, -10.0)), evaluation=Evaluation(episodes=2, points=7))  # a curve is no score
    assert summarise([zero, tuned])[0].cells[0].gain == pytest.approx(0.3)
    with pytest.raises(UserError, match=f"sft x full on task 1 of point is of another {name} than its zero-shot"):
        summarise([zero, of(tuned, **changed)])
    with pytest.raises(UserError, match="is of another number of episodes"):
        summarise([zero, replace(tuned, returns=(-30.0, -10.0, -20.0))])


def test_a_failed_run_is_counted_and_spoils_the_verdict() -> None:
    failed = replace(result("sft", 2, ()), failed="a worker died", normalised=None)
    [comparison] = summarise([*ZERO, result("sft", 1, (-30.0, -10.0)), failed])
    [cell] = comparison.cells
    assert (cell.runs, cell.failed, cell.diverged, cell.verdict) == (1, 1, 0, "failed")
    text = to_markdown([comparison])
    assert "| sft x full | 1 + 1 failed |" in text


def test_a_cell_of_which_nothing_is_left() -> None:
    [comparison] = summarise([ZERO[0], replace(result("sft", 1, ()), failed="a bug")])
    assert comparison.cells[0].score is None
    assert "| sft x full | 0 + 1 failed | - | - | - | - | - | failed |" in to_markdown([comparison])


def test_without_references_returns_are_reported() -> None:
    """An environment of one's own: nobody knows what is random and what is expert."""
    own = [replace(r, references={}, normalised=None) for r in (ZERO[0], result("sft", 1, (-30.0, -10.0)))]
    [comparison] = summarise(own)
    assert (comparison.unit, comparison.cells[0].gain) == ("return", 30.0)
    assert comparison.cells[0].verdict == "same"  # of two episodes
    text = to_markdown([comparison])
    assert "| zero-shot (the best) | 1 | -50.0 |" in text
    assert "| cell | runs | return | minus zero-shot |" in text
    assert "| sft x full | 1 | -20.0 | 30.0 | [30.0, 30.0] | 0.500 | same |" in text
    assert "95% intervals over episodes of these runs alone (one seed)" in text


def test_where_success_is_the_metric_it_is_reported() -> None:
    zero = replace(ZERO[0], metric="success", successes=(False, False))
    tuned = replace(result("sft", 1, (-30.0, -10.0)), metric="success", successes=(True, False))
    [comparison] = summarise([zero, tuned])
    assert (comparison.unit, comparison.cells[0].score, comparison.cells[0].gain) == ("success", 0.5, 0.5)
    assert "| cell | runs | return | success | minus zero-shot |" in to_markdown([comparison])


def test_an_algorithm_may_be_the_baseline() -> None:
    """qp-sft is compared with sft under the same tuning; sft with nothing; a cell without a counterpart has no gain."""
    lone = of(result("dpo", 1, (-30.0, -10.0)), recipe=Recipe("dpo", "prompt"))
    runs = [*ZERO, result("sft", 1, (-50.0, -30.0)), result("qp-sft", 1, (-30.0, -20.0)), lone]
    [comparison] = summarise(runs, "sft")
    sft, qp, dpo = comparison.cells
    assert (sft.gain, dpo.gain) == (None, None)
    assert qp.gain == pytest.approx(0.15)
    assert "minus sft" in to_markdown([comparison])
    with pytest.raises(UserError, match=r"unknown baseline 'stf': did you mean sft\?"):
        summarise(runs, "stf")


class TestHowSureItIs:
    def test_tasks_are_the_sample(self) -> None:
        """Gains of 0.1, 0.2 and 0.3 on three tasks: 0.2 +- 4.302653 * 0.1 / sqrt(3)."""
        zero = [of(result("zero-shot", 1, (-50.0, -50.0)), task=t) for t in range(3)]
        tuned = [of(result("sft", 1, (-40.0 + 10 * t,) * 2), task=t) for t in range(3)]
        [cell] = summarise([*zero, *tuned])[0].cells
        reach = 4.302653 * 0.1 / 3**0.5
        assert cell.interval == pytest.approx((0.2 - reach, 0.2 + reach))
        assert (cell.over, cell.effect, cell.improved) == ("tasks", pytest.approx(2.0), 1.0)
        assert cell.verdict == "same"  # p = 0.074: a mean of 0.2 on three tasks is not told apart

    def test_many_comparisons_are_corrected_for(self) -> None:
        """p = 0.0224 alone, three times that beside two cells that gain nothing."""
        zero = [of(result("zero-shot", 1, (-50.0, -50.0)), task=t) for t in range(3)]
        tuned = [of(result("sft", 1, (-36.0 + 5 * t,) * 2), task=t) for t in range(3)]
        still = [of(r, recipe=Recipe(name, "full")) for name in ("dpo", "grpo") for r in zero]
        assert summarise([*zero, *tuned])[0].cells[0].verdict == "better"
        sft = summarise([*zero, *tuned, *still])[0].cells[0]
        assert sft.verdict == "same" and sft.p == pytest.approx(3 * 0.0224, abs=0.002)

    def test_the_best_point_is_shown_beside(self) -> None:
        points = tuple(Point(i, (v,), v, v / 100 + 1, None, {}) for i, v in enumerate((-60.0, -10.0, -30.0)))
        [cell] = summarise([replace(result("sft", 1, (-30.0, -30.0)), curve=points)])[0].cells
        assert (cell.score, cell.selected) == (pytest.approx(0.7), pytest.approx(0.2))


def test_from_a_folder_to_tables(tmp_path: Path) -> None:
    finish(
        tmp_path,
        STUDY,
        {"study": {"suites": {}, "methods": [{"algorithms": ["sft"], "tunings": ["full"], "label": ""}]}},
    )
    for each in (*ZERO, result("sft", 1, (-30.0, -10.0)), result("sft", 2, (5.0, 7.0))):
        write_result(tmp_path / f"point/medium-5-dense/{each.run.algorithm}/seed-0/task-{each.run.task}.json", each)
    comparisons = summarise(read_results(tmp_path))
    text = to_markdown(comparisons)
    assert "Tasks: task 1, task 2." in text
    assert "| sft x full | 2 | -7.0 | 0.700 | 0.200 |" in text
    with pytest.raises(UserError, match="is not a study"):
        read_results(tmp_path / "nothing")
