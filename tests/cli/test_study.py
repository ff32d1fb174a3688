"""A study and its report, from the command line."""

from pathlib import Path

import pytest

from tests.cli.commands import Capture, contents, result, text
from trajtune.artifacts import AGENT, DATASET, finish, read_header
from trajtune.artifacts import STUDY as STUDY_KIND
from trajtune.cli.parsing import parse
from trajtune.cli.study import Study
from trajtune.data.setting import Setting
from trajtune.data.store import Dataset
from trajtune.shipped import presets
from trajtune.study.declaration import load_study

STUDY = """
suites: {point: {agent: %s, data: %s}}
settings: {quality: medium, trajectories: 5}
methods: {algorithms: [sft, qp-sft], tunings: full}
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

    tables, figure = tmp_path / "tables.md", tmp_path / "figure.png"
    shown = text(capsys, "report", out, "--baseline", "sft", "--markdown", tables, "--figure", figure)
    assert "minus sft" in shown and "minus sft" in tables.read_text() and figure.read_bytes()[:4] == b"\x89PNG"
    assert result(capsys, "report", out)["comparisons"] == first["comparisons"]
    about = result(capsys, "inspect", out)
    assert about["kind"] == "study"


@pytest.mark.parametrize("name", presets())
def test_studies_that_come_with_the_package(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They need nothing but the package, wherever one stands."""
    monkeypatch.chdir(tmp_path)
    command = parse(["study", name, "--out", "out"])
    assert isinstance(command, Study)
    for source in load_study(command.file).suites.values():
        read_header(source.found().agent, AGENT)
        read_header(source.found().data, DATASET)


def test_a_file_goes_before_a_study_of_the_same_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("first").write_text(STUDY % ("a", "b"))
    assert set(load_study("first").suites) == {"point"}


def test_a_failed_run_is_told_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not only missing from a table: a line says which run it was and why."""
    from dataclasses import replace

    from trajtune.cli import main
    from trajtune.study.cell import Evaluation, Run
    from trajtune.study.results import Result, write_result

    run = Run("point", 5, Setting("medium", 4), 0, None, "a", "d", Evaluation())
    scored = Result(run, "", "72 degrees", "return", returns=(-3.0, -4.0), mean_return=-3.5)
    failed = Result(replace(run, task=9), "", "162 degrees", "return", failed="a worker process died of SIGKILL")
    for task, each in ((5, scored), (9, failed)):
        write_result(tmp_path / "point" / "medium-4-dense" / "zero-shot-none" / "seed-0" / f"task-{task}.json", each)
    finish(tmp_path, STUDY_KIND, {"study": {"methods": []}})
    assert main(["report", str(tmp_path)]) == 0
    assert "failed: zero-shot x none on task 9 of point, seed 0: a worker process died" in capsys.readouterr().out
