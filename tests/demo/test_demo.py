"""The demo in little: what is shown is what was computed, and it fits what it runs on."""

from dataclasses import replace
from pathlib import Path

import pytest

from trajtune.artifacts import DEMO, MARK, finish
from trajtune.demo import budget
from trajtune.demo.budget import BATCH, choose, expected, slowest
from trajtune.demo.config import ALGORITHMS, BUDGETS, Budget, DemoConfig
from trajtune.demo.running import _begun, run_demo
from trajtune.errors import UserError
from trajtune.study.measuring import Cost

TINY = Budget(tasks=1, steps=2, batch=2, episodes=2, points=0, curve_episodes=1)


def test_numbers_and_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUDGETS, "small", TINY)  # type: ignore[arg-type]
    said: list[str] = []
    first = run_demo(DemoConfig(), "small", tmp_path / "out", say=said.append)
    assert f"Budget small, as asked for. 1 tasks; sft and {ALGORITHMS[1]} x adapter: 2 updates of 2 windows" in said[0]
    [task] = first["tasks"]
    assert list(task["scores"]) == ["zero-shot (best)", "zero-shot (mean)", *ALGORITHMS]
    assert {len(score["returns"]) for score in task["scores"].values()} == {2}
    assert [point["step"] for point in task["scores"]["sft"]["curve"]] == [0, 2]
    assert len(task["scores"]["sft"]["achieved"]) == 200
    assert (tmp_path / "out" / "demo.png").read_bytes().startswith(b"\x89PNG")
    again = run_demo(DemoConfig(), "small", tmp_path / "out")
    returns = [[score["returns"] for score in each["tasks"][0]["scores"].values()] for each in (first, again)]
    assert returns[0] == returns[1]
    with pytest.raises(UserError, match=r"already holds a demo with another config\.seed: choose another folder"):
        run_demo(DemoConfig(seed=1), "small", tmp_path / "out")


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="already holds something else"):
        run_demo(DemoConfig(), "small", tmp_path)
    with pytest.raises(UserError, match="unknown tuning 'fool'"):
        run_demo(DemoConfig(tuning="fool"), "small", tmp_path)


@pytest.mark.parametrize(
    ("slower", "workers", "name"), [(0.1, 2, "standard"), (1, 2, "standard"), (1, 1, "half"), (9, 2, "small")]
)
def test_the_budget_fits_the_machine(monkeypatch: pytest.MonkeyPatch, slower: float, workers: int, name: str) -> None:
    """Costs of a machine where 32 windows take 0.1 s in an update of sft, 0.2 s in one of the other."""
    step = slower * 2e-4
    costs = {"sft": Cost(step, slower * 0.1), ALGORITHMS[1]: Cost(step, slower * 0.2, 0.0, slower * 2.0)}
    monkeypatch.setattr(budget, "measure", lambda config, number: costs)
    chosen, reason = choose(DemoConfig(), workers, map)
    assert chosen == name
    assert "will take about" in reason
    assert ("would take" in reason) == (name != "standard")


def test_what_is_expected_by_hand() -> None:
    """One worker: two zero-shots of 2 episodes, each algorithm 2 + 1 (its start), of 200 steps; 2 updates of 2."""
    costs = {"sft": Cost(0.01, BATCH * 1.0, 3.0), ALGORITHMS[1]: Cost(0.01, BATCH * 2.0, 1.0, 3.0)}
    assert expected(TINY, costs, 1) == pytest.approx(7 + 2 * 2 * (1 + 2) + 200 * 0.01 * (2 + 2 + 3 + 3))
    assert expected(replace(TINY, tasks=2), costs, 2) < 2 * expected(TINY, costs, 1)
    assert slowest([Cost(1, 2, 3, 8), Cost(5, 6, 1, 4)]) == Cost(5, 6, 3, 8)


def test_a_folder_keeps_the_budget_it_was_begun_with(tmp_path: Path) -> None:
    """What the machine can do is measured anew each time, and another budget would be another demo."""
    finish(tmp_path / "done", DEMO, {"run": {"budget": {"name": "half"}}})
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / MARK).write_text('{"kind": "demo", "run": {"budget": {"name": "small"}}}')
    assert _begun(tmp_path / "done") == "half"
    assert _begun(tmp_path / "begun") == "small"
    assert _begun(tmp_path) is None
