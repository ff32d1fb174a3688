"""Training SAC experts, with the experts extra installed: stopped and resumed equals uninterrupted, bit for bit."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.experts.walkers import walkers
from trajtune.errors import UserError
from trajtune.experts.collect import collect
from trajtune.experts.config import CollectConfig
from trajtune.experts.sac import SACConfig, train_expert
from trajtune.suites import get_suite
from trajtune.suites.base import Suite

pytest.importorskip("sbx")
pytestmark = [pytest.mark.experts, pytest.mark.slow]

CONFIG = SACConfig(updates=1200, learning_starts=500, checkpoint_every=200, save_every=300)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(("suite", "task"), [(get_suite("point"), None), (walkers(), 1)], ids=["all", "one"])
def test_stopped_and_resumed_equals_uninterrupted(tmp_path: Path, suite: Suite, task: int | None) -> None:
    """The run is stopped between two saved states; the checkpoints on the way must be the same too."""

    class Stop(Exception):  # noqa: N818
        pass

    def stop(stage: str, done: int, total: int, metrics: Mapping[str, float] = {}) -> None:
        if done > 800:
            raise Stop

    actors = train_expert(suite, task, CONFIG, tmp_path / "whole", 0)
    assert len(actors) > 2 and actors[-1].name == "actor-000001200.safetensors"
    with pytest.raises(Stop):
        train_expert(suite, task, CONFIG, tmp_path / "parts", 0, stop)
    assert {"state.json", "unfinished.json"} <= set(contents(tmp_path / "parts"))
    with pytest.raises(UserError, match="unfinished expert with another seed"):
        train_expert(suite, task, CONFIG, tmp_path / "parts", 1)
    train_expert(suite, task, CONFIG, tmp_path / "parts", 0)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert set(contents(tmp_path / "whole")) == {"expert.json", *(path.name for path in actors)}
    for other, words in ((replace(CONFIG, updates=1300), "updates"), (replace(CONFIG, batch_size=32), "batch_size")):
        with pytest.raises(UserError, match=f"already holds an expert with another {words}: choose another folder"):
            train_expert(suite, task, other, tmp_path / "parts", 0)


def test_nothing_is_relabelled_where_nothing_can_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="suite walkers cannot relabel rewards"):
        train_expert(walkers(), None, CONFIG, tmp_path / "expert", 0)
    assert not (tmp_path / "expert").exists()


def test_an_environment_of_gymnasium_from_training_to_data(tmp_path: Path) -> None:
    """A few thousand updates make Pendulum's expert. Its medium data lie in between; its folder of experts stays."""
    data = collect(CollectConfig("gym:Pendulum-v1", (0,), trajectories=3, updates=3000), tmp_path)
    reference = data.references(0)
    assert reference["random"] < -800 and reference["expert"] > -400
    medium = data.metadata["sources"]["0"]["medium"]["mean_return"]
    assert 1 / 3 <= (medium - reference["random"]) / (reference["expert"] - reference["random"]) <= 1 / 2
    assert data.metadata["run"]["experts"] == "per-task"
    assert (tmp_path / "experts" / "per-task" / "task-000" / "expert.json").exists()
