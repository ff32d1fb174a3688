"""Data that a study records because it names none."""

from importlib import metadata
from pathlib import Path

import pytest

from trajtune.data.setting import Setting
from trajtune.errors import UserError
from trajtune.progress import silent
from trajtune.study.declaration import Source, Study
from trajtune.study.sources import record


def test_what_one_suite_lacks_is_said_before_another_records(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("trajtune.suites.metaworld_env.metadata.version", version)
    monkeypatch.chdir(tmp_path)
    study = Study({"point": Source(Path("agent")), "metaworld-ml45": Source()}, (Setting(),))
    with pytest.raises(UserError, match=r"Meta-World need an extra: pip install 'trajtune\[metaworld\]'"):
        record(study, silent)
    assert not list(tmp_path.iterdir())


def test_they_are_recorded_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    study = Study({"point": Source(Path("agent"))}, (Setting(),))
    record(study, silent)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert tmp_path / "data" / "point-test" / "dataset.json" in before
    record(study, silent)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
