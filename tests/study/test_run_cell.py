"""From few-shot set to result: the curve is watched, never in the way."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trajtune.agents.saving import SavedAgent
from trajtune.data.fewshot import FewShot
from trajtune.errors import UserError
from trajtune.rollout.score import evaluate
from trajtune.study.cell import Evaluation, Run
from trajtune.study.results import read_result, write_result
from trajtune.study.run_cell import run_cell
from trajtune.suites import get_suite
from trajtune.training.config import Recipe, TrainConfig
from trajtune.training.finetune import finetune

POINT = get_suite("point")
RECIPE = Recipe("qp-sft", "full", training=TrainConfig(steps=4, batch=4, precision="fp32", log_every=1))
EVALUATION = Evaluation(episodes=3, points=1, curve_episodes=2, precision="fp32")


def test_the_curve_has_the_scores_of_the_policy_as_it_was(point_agent: SavedAgent, point_few: FewShot) -> None:
    result = run_cell(point_agent, point_few, POINT, RECIPE, EVALUATION)
    half = finetune(point_agent, point_few, replace(RECIPE, training=replace(RECIPE.training, steps=2)))
    start, middle, end = result.curve
    assert [point.step for point in result.curve] == [0, 2, 4]
    for subject, point in ((point_agent, start), (half, middle)):
        score = evaluate(subject, POINT, 5, point_few.brief, 2, precision="fp32")
        np.testing.assert_allclose(point.returns, score.returns, rtol=1e-5)
    assert end.returns == result.returns[:2]
    assert end.mean_return == np.mean(result.returns[:2])
    assert middle.metrics == {name: value for name, value in half.log[-1].items() if name != "step"}
    assert result.success is not None
    assert (len(result.successes or ()), len(result.lengths), len(result.returns)) == (3, 3, 3)


def test_being_watched_changes_nothing(point_agent: SavedAgent, point_few: FewShot) -> None:
    found = [
        run_cell(point_agent, point_few, POINT, RECIPE, replace(EVALUATION, points=points, curve_episodes=n))
        for points, n in ((0, 1), (3, 0))
    ]
    assert found[0].returns == found[1].returns
    assert found[0].metrics == found[1].metrics
    assert [len(point.returns) for point in found[1].curve] == [3, 3, 3, 3, 3]


def test_a_tuned_prompt_starts_from_itself(point_agent: SavedAgent, point_few: FewShot) -> None:
    """It takes the place of all prompts of the task: its curve does not start where the agent stands."""
    recipe = replace(RECIPE, algorithm="sft", tuning="prompt")
    result = run_cell(point_agent, point_few, POINT, recipe, EVALUATION)
    assert point_few.brief.prompts is not None
    first = replace(point_few.brief, prompts=point_few.brief.prompts[:1])
    score = evaluate(point_agent, POINT, 5, first, 2, precision="fp32")
    np.testing.assert_allclose(result.curve[0].returns, score.returns, rtol=1e-4)


def test_what_was_forgotten_is_measured_on_request(point_agent: SavedAgent, point_few: FewShot) -> None:
    """Tasks of pretraining, spread over all of them, under the agent's own briefs."""
    tuned = finetune(point_agent, point_few, RECIPE)
    result = run_cell(point_agent, point_few, POINT, RECIPE, replace(EVALUATION, forgetting=3))
    known = list(POINT.train)
    assert set(known) < set(point_agent.briefs)  # which it has of test tasks, too
    assert [each.task for each in result.forgetting] == [known[0], known[round((len(known) - 1) / 2)], known[-1]]
    for each in result.forgetting:
        before, after = (
            evaluate(who, POINT, each.task, point_agent.briefs[each.task], 2, precision="fp32")
            for who in (point_agent, tuned)
        )
        np.testing.assert_allclose((each.before, each.after), (before.mean_return, after.mean_return), rtol=1e-5)
    assert result.forgetting[0].before != result.forgetting[0].after
    with pytest.raises(UserError, match="forgetting asks for 999 tasks; the agent was pretrained on"):
        run_cell(point_agent, point_few, POINT, RECIPE, replace(EVALUATION, forgetting=999))


def test_what_decides_it_is_written_out(point_agent: SavedAgent, point_few: FewShot, tmp_path: Path) -> None:
    plain = Recipe(training=TrainConfig(steps=2, batch=2))
    result = run_cell(point_agent, point_few, POINT, plain, EVALUATION, data="digest", label="x", keep_course=True)
    assert isinstance(result.run, Run)
    assert result.run.recipe is not None
    assert (result.run.suite, result.run.task, result.run.setting) == ("point", 5, point_few.setting)
    assert result.run.recipe.options["imitation"] == 0.3  # a changed default cannot pass for this one
    assert result.run.recipe.training.learning_rate == 3e-3
    assert result.run.recipe.training.precision in ("bf16", "fp32")
    assert (result.run.agent, result.run.data) == (point_agent.digest, "digest")
    assert result.machine is not None
    assert result.machine.threads == 1
    assert {"torch", "numpy", "mujoco", "peft", "trajtune"} <= result.machine.versions.keys()
    assert result.target_return == point_few.brief.target_return
    assert len(result.achieved) == 30
    write_result(tmp_path / "task-5.json", result)
    assert read_result(tmp_path / "task-5.json") == result


def test_zero_shot_is_a_cell_without_a_recipe(point_agent: SavedAgent, point_few: FewShot) -> None:
    result = run_cell(point_agent, point_few, POINT, None, EVALUATION)
    assert (result.run.algorithm, result.run.tuning, result.run.recipe) == ("zero-shot", "none", None)
    assert list(result.returns) == evaluate(point_agent, POINT, 5, point_few.brief, 3, precision="fp32").returns
    [point] = result.curve
    assert (point.step, point.metrics, point.returns) == (0, {}, result.returns[:2])


def test_acting_that_is_not_finite_is_a_divergence(
    point_agent: SavedAgent, point_few: FewShot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(env: object, action: object) -> tuple[object, float, bool, bool, dict[str, object]]:
        return np.zeros(2, np.float32), float("nan"), False, False, {}

    monkeypatch.setattr(type(POINT.make(POINT.tasks[5])), "step", step)
    result = run_cell(point_agent, point_few, POINT, None, EVALUATION)
    assert result.diverged == "acting diverged: a return is not finite"
    assert result.returns == ()
