"""Versions of what a suite gets from elsewhere: in every header, and never mixed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trajtune.cli import main
from trajtune.data.store import Dataset
from trajtune.data.writer import DatasetWriter
from trajtune.errors import UserError
from trajtune.experts.collect import collect
from trajtune.experts.config import CollectConfig
from trajtune.suites import get_suite
from trajtune.suites.base import Suite

NOW = {"metaworld": "3.1.1", "reward": "v2"}


def metaworld_data(folder: Path, versions: dict[str, str]) -> Dataset:
    """One trajectory of zeros, as another installation might have written it."""
    with DatasetWriter(folder, 39, 4) as writer:
        rows = np.zeros((3, 39), np.float32)
        writer.add(rows, rows[:, :4], rows[:, 0], rows[0], task=45, quality=0, seed=0)
        return writer.finish({"suite": "metaworld-ml45", "qualities": ["medium"], "versions": versions})


@pytest.mark.parametrize("name", ["metaworld-ml45", "metaworld-ml1-pick-place", "metaworld-mt50"])
def test_meta_world_says_its_versions(name: str) -> None:
    assert get_suite(name).versions == NOW


@pytest.mark.parametrize("found", [NOW, {}, {"metaworld": "3.1.1"}, {**NOW, "more": "1"}])
def test_the_same_versions_or_none_named(found: dict[str, str]) -> None:
    get_suite("metaworld-ml45").check_versions(found, "data")


@pytest.mark.parametrize(("name", "other"), [("metaworld", "3.0.0"), ("reward", "v1")])
def test_data_of_another_version_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, other: str
) -> None:
    metaworld_data(tmp_path / "data", {**NOW, name: other})
    assert main(["pretrain", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "agent")]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert f"was made with {name} {other}, suite metaworld-ml45 is of {name} {NOW[name]}: collect it anew" in said
    assert not (tmp_path / "agent").exists()


def test_a_collection_has_them_in_its_header_and_in_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"engine": "1"}

    def suite(name: str) -> Suite:
        return replace(get_suite(name), versions=dict(versions))

    monkeypatch.setattr("trajtune.experts.collect.get_suite", suite)
    config = CollectConfig("point", (4,), ("expert",), 2, experts="scripted")
    assert collect(config, tmp_path / "data").metadata["versions"] == versions
    assert json.loads((tmp_path / "data" / "dataset.json").read_text())["run"]["versions"] == versions
    collect(config, tmp_path / "data")
    versions["engine"] = "2"
    with pytest.raises(UserError, match="another versions"):
        collect(config, tmp_path / "data")


def test_a_task_may_be_chosen_by_its_name() -> None:
    suite = get_suite("metaworld-ml45")
    assert suite.select("door-lock-v3,3,bin-picking-v3") == [48, 3, 45]


@pytest.mark.parametrize(
    ("old", "new"), [("door-open-v2", "door-open-v3"), ("peg-insert-side-v2", "peg-insert-side-v3")]
)
def test_a_name_of_version_2_is_told_the_new_one(old: str, new: str) -> None:
    with pytest.raises(UserError, match=rf"tasks '0,{old}' is neither .*; did you mean {new}\?$") as caught:
        get_suite("metaworld-ml45").select(f"0,{old}")
    assert "\n" not in str(caught.value)
