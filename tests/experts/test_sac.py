"""Training SAC experts, with the experts extra installed: stopped and resumed equals uninterrupted, bit for bit."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.experts.walkers import walkers
from trajtune.errors import UserError
from trajtune.experts import collect as collecting
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


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the collection find the walkers by their name."""
    monkeypatch.setattr(collecting, "get_suite", lambda name: walkers())


@pytest.mark.usefixtures("known")
def test_what_it_did_as_it_learned_is_data(tmp_path: Path) -> None:
    """Every episode of the replay is one that the environment gives again for its seed and actions."""
    suite = walkers()
    horizon, count = suite.horizon(1), 40
    config = CollectConfig("walkers", (1,), experts="per-task", composition="replay", trajectories=count, updates=1500)
    data = collect(config, tmp_path)
    env = suite.make(suite.task(1))
    flat = data.trajectories
    assert len(flat) == 2 * count
    for i in range(0, 2 * count, count // 5):
        observation, _ = env.reset(seed=int(data.seeds[i]))
        for row in range(flat.start[i], flat.start[i] + flat.length[i]):
            np.testing.assert_allclose(flat.observations[row], suite.view(observation), atol=1e-5)
            observation, reward, terminated, *_ = env.step(flat.actions[row])
            assert reward == pytest.approx(flat.rewards[row], abs=1e-5)
        assert flat.terminated[i] == terminated and (terminated or flat.length[i] == horizon)
    expert, medium = (data.metadata["sources"]["1"][quality] for quality in ("expert", "medium"))
    assert expert["policy"] == "the first 100% of training actor-000001500" and "50%" in medium["policy"]
    assert expert["mean_return"] != medium["mean_return"]
    header = json.loads((tmp_path / "experts" / "per-task" / "task-001" / "expert.json").read_text())
    assert set(header["replay"]) <= {path.name for path in (tmp_path / "experts" / "per-task" / "task-001").iterdir()}


@pytest.mark.usefixtures("known")
def test_a_training_that_was_too_short_for_the_data(tmp_path: Path) -> None:
    config = CollectConfig("walkers", (1,), experts="per-task", composition="replay", trajectories=10**4, updates=1200)
    with pytest.raises(UserError, match=r"episodes in the part of its training that is expert, 10000 were asked for"):
        collect(config, tmp_path)
