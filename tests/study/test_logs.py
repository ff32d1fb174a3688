"""A study's curves, where somebody watches them: every result once, whoever ran it and however often."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.test_loggers import scalars
from trajtune.errors import UserError
from trajtune.study.declaration import Method, Study
from trajtune.study.logs import LOGGED
from trajtune.study.runners import run_study
from trajtune.study.stored import read_results


def test_every_curve_is_logged_once(study: Study, tmp_path: Path) -> None:
    out = tmp_path / "out"
    sft = replace(study, methods=(Method(("sft",), ("full",), learning_rate=1e-3),), tasks="5")
    run_study(sft, out)  # without anybody watching
    run_study(replace(sft, tasks="5,10"), out, log=["tensorboard", "jsonl"])
    results = [r for r in read_results(out) if r.run.algorithm == "sft"]
    assert len(results) == 2
    for result in results:
        place = f"point/medium-5-dense/sft-full/seed-0/task-{result.run.task}"
        found = scalars(out / LOGGED / "tensorboard" / place)
        wanted = [(point.step, point.mean_return) for point in result.curve]
        assert found["return"] == [(step, pytest.approx(value)) for step, value in wanted]
        assert "loss" in found
        lines = [json.loads(line) for line in (out / LOGGED / "jsonl" / f"{place}.jsonl").read_text().splitlines()]
        assert lines[0]["config"]["recipe"]["algorithm"] == "sft"
        # A line of JSON lines has to have moved on: the start of the curve is the first.
        assert [(line["step"], line["return"]) for line in lines[1:]] == wanted
    before = {path: path.read_bytes() for path in (out / LOGGED).rglob("*") if path.is_file()}
    run_study(replace(sft, tasks="5,10"), out, log=["tensorboard", "jsonl"])
    assert {path: path.read_bytes() for path in (out / LOGGED).rglob("*") if path.is_file()} == before


def test_an_unknown_logger_stops_it_before_it_begins(study: Study, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown logger 'tb'"):
        run_study(study, tmp_path / "out", log=["tb"])
    assert not (tmp_path / "out").exists()
