"""A study at another size, and what it will take."""

from dataclasses import replace
from pathlib import Path

import pytest

from trajtune.data.setting import Setting
from trajtune.data.store import Dataset
from trajtune.errors import UserError
from trajtune.shipped import presets
from trajtune.study.budgets import BUDGETS, within
from trajtune.study.cell import Evaluation, Run
from trajtune.study.declaration import Method, Source, Study
from trajtune.study.measuring import Cost, cost_of, critic_of, shortened
from trajtune.study.planning import added, measured, plan, seconds_of
from trajtune.study.reading import load_study
from trajtune.study.runners import run_study
from trajtune.training.config import Recipe, TrainConfig

STUDY = Study(
    {"point": Source(Path("a"), Path("d"))},
    (Setting("medium", 5),),
    (Method(("sft",), ("full",)),),
    seeds=(3, 4, 5, 6),
    training=TrainConfig(steps=40, batch=64),
)


def test_a_budget_only_takes_away() -> None:
    small = within(STUDY, "small")
    assert (small.tasks, small.seeds, small.episodes, small.points) == ("test:2", (3,), 10, 0)
    assert (small.training.steps, small.training.batch) == (40, 16)
    assert within(STUDY, "paper") is STUDY
    assert within(replace(STUDY, tasks="5,7,9"), "small").tasks == "5,7"
    assert within(replace(STUDY, tasks="test:1"), "small").tasks == "test:1"
    smoke = within(STUDY, "smoke")
    assert within(replace(STUDY, tasks="4-7,9"), "small").tasks == "4,5"
    assert smoke.training.warmup < smoke.training.steps == 3
    with pytest.raises(UserError, match="unknown budget 'smal': did you mean small"):
        within(STUDY, "smal")


@pytest.mark.parametrize("name", presets())
def test_budgets_rise(name: str) -> None:
    counts = [sum(1 for _ in within(load_study(name), budget).runs()) for budget in BUDGETS]
    assert counts == sorted(counts) and counts[0] > 0


def test_what_runs_take_by_hand() -> None:
    """Zero-shot: 4 episodes of 30 steps. A run: setup 3, 10 updates of 2, points at 0 and 10 of 2 episodes, 4 at the
    end; its critic, 100, is warmed up by the first of its few-shot set."""
    recipe = Recipe("qp-sft", "full", training=TrainConfig(steps=10)).resolved()
    evaluation = Evaluation(4, 0, 2)
    horizon = 30
    cost = Cost(step=0.5, update=2.0, setup=3.0, warm=100.0)
    zero = Run("point", 5, Setting(), 0, None, "", "", evaluation)
    run = replace(zero, recipe=recipe)
    other = replace(run, recipe=replace(recipe, options={**recipe.options, "alpha": 9.0}))
    apart = replace(run, task=6)
    told = list(added((each, cost) for each in (zero, run, other, apart)))
    acting = (4 + 2) * horizon * 0.5
    first = 3.0 + 20.0 + acting + 100.0
    assert told == pytest.approx([4 * horizon * 0.5, first, first - 100.0, first])
    assert replace(evaluation, forgetting=5).played(10) == 4 + 2 * (1 + 10)


def test_a_measurement_hardly_warms_critics_up() -> None:
    assert shortened(Recipe("qp-sft")).options["critic.bootstrapped"] == 100
    assert shortened(Recipe("qp-sft", options={"critic.bootstrapped": 0})).options["critic.bootstrapped"] == 0
    assert shortened(Recipe("sft")).options == Recipe("sft").resolved().options
    assert critic_of(Recipe("sft").resolved()) == () != critic_of(Recipe("qp-sft").resolved())


def test_a_plan(study: Study, tmp_path: Path, point_agent, point_few) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "out"
    found = plan(study, out)
    assert (found.runs, found.done, len(found.kinds)) == (8, 0, 3)
    assert not out.exists()  # nothing is written
    assert [(kind.algorithm, kind.runs) for kind in found.kinds] == [("zero-shot", 4), ("sft", 2), ("qp-sft", 2)]
    assert all(kind.seconds > 0 for kind in found.kinds)
    assert found.wall(2) >= found.longest and found.wall(1) == pytest.approx(found.seconds)
    run_study(replace(study, methods=(Method(("sft",), ("full",), learning_rate=1e-3),)), out)
    again = plan(study, out)
    assert (again.runs, again.done, [kind.algorithm for kind in again.kinds]) == (8, 6, ["qp-sft"])


def test_studies_by_what_is_measured_once() -> None:
    study = replace(STUDY, methods=(Method(("sft", "qp-sft"), ("full",)),), seeds=(0,), tasks="test:1")
    costs = {name: Cost(0.0, 1.0) for name in (("sft", "full"), ("qp-sft", "full"), ("zero-shot", "none"))}
    assert seconds_of(study, costs) == pytest.approx(2 * 40)


def test_what_is_measured_is_of_the_shipped_agent() -> None:
    study = replace(STUDY, methods=(Method(("sft",), ("full",)),), training=TrainConfig(steps=40, batch=2), episodes=2)
    costs = measured([study], 1)
    assert set(costs) == {("zero-shot", "none"), ("sft", "full")}
    assert costs["sft", "full"].update > 0 and costs["sft", "full"].warm == 0


def test_a_critic_costs_a_warm_up(point_agent, point_few) -> None:  # type: ignore[no-untyped-def]
    from trajtune.suites import get_suite

    recipe = Recipe("qp-sft", "full", training=TrainConfig(batch=2, precision="fp32"))
    assert cost_of(point_agent, point_few, get_suite("point"), recipe, 2).warm > 0


def test_data_that_no_one_names_is_recorded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below data/ where one stands: the test tasks, as trajtune collect records them."""
    from trajtune.experts.config import CollectConfig
    from trajtune.study import sources

    asked = []

    def collect(config: CollectConfig, folder: Path, *_: object) -> None:
        asked.append((config, folder))
        folder.mkdir(parents=True)
        (folder / "dataset.json").write_text("{}")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "collect", collect)
    for tasks in ("test:1", "5,15", "test"):
        sources.record(replace(STUDY, suites={"cheetah-vel": Source()}, tasks=tasks), lambda *_: None)
    [(config, folder)] = asked
    assert (config.suite, config.tasks, folder) == ("cheetah-vel", (5, 15, 25, 35, 45), Path("data/cheetah-vel-test"))
    assert Source().of("cheetah-vel", "0,5").data == Path("data/cheetah-vel-all")
    assert Source().of("cheetah-vel", "test").found().agent.is_dir()


def test_a_real_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point_agent_folder: Path) -> None:
    monkeypatch.chdir(tmp_path)
    study = replace(STUDY, suites={"point": Source(point_agent_folder)}, seeds=(0,), tasks="test:1", episodes=2)
    study = replace(study, training=TrainConfig(steps=2, batch=2, precision="fp32"), points=0)
    run_study(study, "out")
    assert Dataset.open(Path("data/point-test")).suite == "point"
    assert not list(Path("data").glob(".*"))
