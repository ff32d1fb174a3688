"""A study and its report, from the command line."""

from pathlib import Path

import pytest

from tests.cli.commands import Capture, contents, one_line, result, text
from trajtune.artifacts import AGENT, DATASET, finish, read_header
from trajtune.artifacts import STUDY as STUDY_KIND
from trajtune.cli import main
from trajtune.cli.parsing import parse
from trajtune.cli.study import Study
from trajtune.data.setting import Setting
from trajtune.data.store import Dataset
from trajtune.experts.sources import sources_of
from trajtune.shipped import preset, presets
from trajtune.study import planning
from trajtune.study.measuring import Cost
from trajtune.study.reading import load_study
from trajtune.suites import get_suite

STUDY = """
suites: {point: {agent: %s, data: %s}}
settings: {quality: medium, trajectories: 5}
methods:
  - {algorithms: sft, tunings: full}
  - {algorithms: qp-sft, tunings: full, options: {critic.monte_carlo: 3, critic.bootstrapped: 3}}
tasks: 5,9
episodes: 3
points: 1
training: {steps: 4, batch: 4}
"""


def test_a_study_and_its_report(point_agent_folder: Path, point_data: Dataset, tmp_path: Path, capsys: Capture) -> None:
    file, out = tmp_path / "study.yaml", tmp_path / "out"
    file.write_text(STUDY % (point_agent_folder, point_data.path))
    command = ["study", file, "--out", out, "--workers", 1]
    first = result(capsys, *command)
    (comparison,) = first["comparisons"]
    assert [cell["algorithm"] for cell in comparison["cells"]] == ["sft", "qp-sft"]
    assert all(cell["runs"] == 2 for cell in comparison["cells"])
    before = contents(out)
    assert result(capsys, *command) == first and contents(out) == before
    assert "qp-sft x full" in text(capsys, *command)

    report = tmp_path / "report"
    shown = text(capsys, "report", out, "--baseline", "sft", "--out", report, "--only", "cells, gains")
    assert "minus sft" in shown and "minus sft" in (report / "tables" / "cells.md").read_text()
    again = result(capsys, "report", out, "--out", report, "--only", "gains")
    assert again["comparisons"] == first["comparisons"]
    assert [Path(path).read_bytes()[:4] for path in again["written"]["gains"]] == [b"%PDF", b"\x89PNG"]
    about = result(capsys, "inspect", out)
    assert about["kind"] == "study"


@pytest.mark.parametrize("name", presets())
def test_studies_that_come_with_the_package(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They need nothing but the package, wherever one stands: agents that ship, and data that do or can be recorded.

    But for those about sizes of agents, which are larger than what ships.
    """
    monkeypatch.chdir(tmp_path)
    command = parse(["study", name, "--out", "out"])
    assert isinstance(command, Study)
    study = load_study(command.file)
    for suite, source in study.suites.items():
        found = source.of(suite, study.tasks).found()
        if source.suite:
            assert name in ("figure5", "table2") and source.agent and source.data and get_suite(source.suite)
            continue
        read_header(found.agent, AGENT)
        if source.data is None:
            assert {"shipped", "scripted"} & set(sources_of(get_suite(suite)))
        else:
            read_header(found.data, DATASET)


def test_the_list_of_studies(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    listed = result(capsys, "studies")["studies"]
    assert [each["name"] for each in listed] == list(presets())
    [table] = [each for each in listed if each["name"] == "table1"]
    # Seventeen tasks of four suites, three seeds: seven algorithms under four tunings, and zero-shot by two targets.
    assert table["budgets"]["paper"] == {"runs": (2 + 5 + 5 + 5) * 3 * (28 + 2), "seconds": None}
    assert table["budgets"]["smoke"]["runs"] == 4 * 1 * 1 * 30
    assert "studies --measure" in text(capsys, "studies")

    monkeypatch.chdir(tmp_path)
    assert result(capsys, "studies", "copy", "first") == {"name": "first", "out": "first.yaml"}
    assert load_study("first.yaml") == load_study(preset("first"))


def test_studies_by_what_they_take(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second an update, and nothing else."""
    monkeypatch.setattr(planning, "cost_of", lambda *_: Cost(0.0, 1.0))
    listed = result(capsys, "studies", "--measure", "--workers", 1)["studies"]
    [table] = [each for each in listed if each["name"] == "table1"]
    assert table["budgets"]["paper"]["seconds"] == (2 + 5 + 5 + 5) * 3 * 28 * 300
    assert table["budgets"]["smoke"]["seconds"] == 4 * 28 * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["studies", "copy", "fist"], "unknown study 'fist': did you mean first?"),
        (["studies", "list", "first"], "did you mean trajtune studies copy first?"),
        (["study", "first"], "missing: --out (see trajtune study --help)"),
        (["study", "first", "--out", "out", "--budget", "smal"], "unknown budget 'smal': did you mean small?"),
        (["study", "first", "--out", "out", "--log", "tb"], "unknown logger 'tb'"),
    ],
)
def test_what_is_refused(
    arguments: list[str], message: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    code = main(arguments)
    captured = capsys.readouterr()
    one_line(code, captured.out, captured.err, message)
    assert not list(tmp_path.iterdir())


def test_a_report_writes_over_nobodys_files(tmp_path: Path, capsys: Capture) -> None:
    pack, thesis = "docs/results/packed/confirmation-first.jsonl.xz", tmp_path / "thesis" / "index.html"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    for place, said in ((thesis.parent, "already holds something that is no report"), (thesis, "a report is a folder")):
        code = main(["report", pack, "--out", str(place)])
        captured = capsys.readouterr()
        one_line(code, captured.out, captured.err, place, said)
    assert thesis.read_text() == "years of work" and len(list(thesis.parent.iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "table9", "--out", "x"], "unknown part of a report 'table9': did you mean table"),
        (["--only", "table1"], "say where with --out"),
        (["--baseline", "stf"], "unknown baseline 'stf'"),
    ],
)
def test_what_a_report_refuses(arguments: list[str], said: str, capsys: Capture) -> None:
    code = main(["report", "docs/results/packed/confirmation-first.jsonl.xz", *arguments])
    captured = capsys.readouterr()
    one_line(code, captured.out, captured.err, said)


def test_what_ships_has_a_name_wherever_a_folder_is_asked_for(capsys: Capture) -> None:
    assert result(capsys, "inspect", "asset:cheetah-vel/agent")["kind"] == "agent"
    found = result(capsys, "evaluate", "--agent", "asset:cheetah-vel/agent", "--task", 15, "--episodes", 1)
    assert found["scores"][0]["task"] == 15
    code = main(["inspect", "asset:cheetah-vel/agnet"])
    captured = capsys.readouterr()
    one_line(code, captured.out, captured.err, "the asset cheetah-vel/agnet is missing from this installation")


def test_a_plan_and_a_budget(
    point_agent_folder: Path, point_data: Dataset, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "cost_of", lambda *_: Cost(0.0, 1.0))
    monkeypatch.setattr("trajtune.cli.study.count_workers", lambda asked: asked or 1)
    file = tmp_path / "study.yaml"
    file.write_text(STUDY % (point_agent_folder, point_data.path))
    found = result(capsys, "study", file, "--plan", "--budget", "smoke", "--workers", 2)
    assert (found["runs"], found["done"]) == (4, 0)  # one task: zero-shot by two targets, and two cells of 3 updates
    assert found["seconds"] == {"1": 6.0, "2": 3.0, "10": 3.0, "100": 3.0}
    shown = text(capsys, "study", file, "--plan", "--budget", "smoke")
    assert "4 runs, 0 done; the rest takes about 6 s with 1" in shown and "qp-sft x full" in shown
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


def test_a_file_goes_before_a_study_of_the_same_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("first").write_text(STUDY % ("a", "b"))
    assert set(load_study("first").suites) == {"point"}


def test_a_failed_run_is_told_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not only missing from a table: a line says which run it was and why."""
    from dataclasses import replace

    from trajtune.study.cell import Evaluation, Run
    from trajtune.study.results import Result, write_result

    run = Run("point", 5, Setting("medium", 4), 0, None, "a", "d", Evaluation())
    scored = Result(run, "", "72 degrees", "return", returns=(-3.0, -4.0), mean_return=-3.5)
    failed = Result(replace(run, task=9), "", "162 degrees", "return", failed="a worker process died of SIGKILL")
    for task, each in ((5, scored), (9, failed)):
        write_result(tmp_path / "point" / "medium-4-dense" / "zero-shot-none" / "seed-0" / f"task-{task}.json", each)
    finish(tmp_path, STUDY_KIND, {"study": {"suites": {}, "methods": []}})
    assert main(["report", str(tmp_path)]) == 0
    assert "failed: zero-shot x none on task 9 of point, seed 0: a worker process died" in capsys.readouterr().out
