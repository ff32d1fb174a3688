"""Loggers: every step once, also when a run is cut off and goes on; real event files; one adapter for the rest."""

import json
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from trajtune.errors import UserError
from trajtune.loggers import LOGGERS, open_logger


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_json_lines(tmp_path: Path) -> None:
    logger = open_logger("jsonl", tmp_path, "a/run", {"alpha": 0.5})
    logger.log(10, {"loss": 1.0})
    logger.log(20, {"loss": 0.5})
    logger.close()
    lines = (tmp_path / "a" / "run.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"run": "a/run", "config": {"alpha": 0.5}},
        {"step": 10, "loss": 1.0},
        {"step": 20, "loss": 0.5},
    ]


def test_json_lines_go_on_after_a_cut(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    for cut in (0, 1, 7):  # whole lines; before its end; in the middle of one
        path.unlink(missing_ok=True)
        logger = open_logger("jsonl", tmp_path, "run", {})
        for step in (10, 20, 30):
            logger.log(step, {"loss": 1.0 / step})
        logger.close()
        whole = path.read_text()
        path.write_text(whole[: len(whole) - cut])
        again = open_logger("jsonl", tmp_path, "run", {})
        for step in (20, 30, 40):  # from the last checkpoint on
            again.log(step, {"loss": 1.0 / step})
        again.close()
        assert [json.loads(line).get("step") for line in path.read_text().splitlines()] == [None, 10, 20, 30, 40]


def test_tensorboard(tmp_path: Path) -> None:
    """A run that is cut off at 30 and goes on from 20 has every step once."""
    logger = open_logger("tensorboard", tmp_path, "a/run", {"alpha": 0.5})
    for step in (10, 20, 30):
        logger.log(step, {"loss": float(step)})
    logger.close()
    again = open_logger("tensorboard", tmp_path, "a/run", {"alpha": 0.5})
    for step in (20, 30, 40):
        again.log(step, {"loss": step + 0.5})
    again.close()
    assert scalars(tmp_path / "a" / "run")["loss"] == [(10, 10.0), (20, 20.5), (30, 30.5), (40, 40.5)]


class Library(types.ModuleType):
    """The API that Weights & Biases and Trackio share, as far as it is used."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.begun: list[dict[str, Any]] = []
        self.logged: list[tuple[int, Mapping[str, float]]] = []
        self.finished = 0

    def init(self, **told: Any) -> "Library":
        self.begun.append(told)
        return self

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self.logged.append((step, metrics))

    def finish(self) -> None:
        self.finished += 1


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_one_adapter_for_what_looks_alike(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library(name)
    monkeypatch.setitem(sys.modules, name, library)
    for _ in range(2):
        logger = open_logger(name, tmp_path / "study", "sft-full/seed-0", {"steps": 3})
        logger.log(3, {"loss": 0.1})
        logger.close()
    first, second = library.begun
    assert first == second  # the same name and, where there is one, the same id: the run is resumed
    assert (first["project"], first["name"], first["group"]) == ("trajtune", "study/sft-full/seed-0", "study")
    assert first["resume"] == "allow" and first["config"] == {"steps": 3}
    assert library.logged == [(3, {"loss": 0.1})] * 2 and library.finished == 2


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_what_is_not_installed_is_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard" if name == "tensorboard" else name, None)
    with pytest.raises(UserError, match=f"--log {name} needs it: pip install {name}"):
        open_logger(name, tmp_path, "run", {})


def test_a_library_that_will_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library("wandb")
    monkeypatch.setattr(library, "init", lambda **_: 1 / 0)
    monkeypatch.setitem(sys.modules, "wandb", library)
    with pytest.raises(UserError, match="wandb cannot begin a run: division by zero"):
        open_logger("wandb", tmp_path, "run", {})


def test_an_unknown_logger(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown logger 'tensorbord': did you mean tensorboard\?"):
        open_logger("tensorbord", tmp_path, "run", {})
    assert set(LOGGERS) >= {"jsonl", "tensorboard", "wandb", "trackio"}
