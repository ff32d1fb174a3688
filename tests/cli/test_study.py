"""A study and its report, from the command line."""

from pathlib import Path

import pytest

from tests.cli.commands import Capture, contents, result, text
from trajtune.artifacts import AGENT, DATASET, read_header
from trajtune.cli.parsing import parse
from trajtune.cli.study import Study
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
        read_header(source.agent, AGENT)
        read_header(source.data, DATASET)


def test_a_file_goes_before_a_study_of_the_same_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("first").write_text(STUDY % ("a", "b"))
    assert set(load_study("first").suites) == {"point"}
