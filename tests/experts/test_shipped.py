"""Experts that ship: made of a training's actors, used by default, for variants too, and without JAX."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.experts.linear import write_actor, write_training
from trajtune import artifacts
from trajtune.errors import UserError
from trajtune.experts import shipped
from trajtune.experts.actors import sac_actor
from trajtune.experts.collect import CollectConfig, collect
from trajtune.experts.ladder import MEDIUM
from trajtune.experts.packing import Pack, pack
from trajtune.experts.shipped import ASSETS, Shipped, shipped_with
from trajtune.experts.sources import sources_of
from trajtune.files import read_arrays
from trajtune.progress import silent
from trajtune.suites import get_suite

ROOT = Path(__file__).resolve().parents[2]
HEADER = artifacts.EXPERT.header
ASSET_FOLDERS = sorted(path.parent for path in ASSETS.glob(f"*/{HEADER}"))


def packed(trained: Path, assets: Path) -> Pack:
    return Pack(trained, "point", assets / "point", "0123abc", "written down by a test", workers=1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("trained") / "point"
    write_training(folder)
    return folder


@pytest.fixture
def assets(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of assets with experts of the point suite, in the place of trajtune's own."""
    monkeypatch.setattr(shipped, "ASSETS", tmp_path / "assets")
    pack(packed(trained, tmp_path / "assets"))
    return tmp_path / "assets"


# Using them

CONFIG = CollectConfig("point", (4, 9), trajectories=5, experts="shipped")


def test_collected_data_are_of_both_qualities(assets: Path, tmp_path: Path) -> None:
    data = collect(CONFIG, tmp_path / "data")
    for task in CONFIG.tasks:
        known = data.references(task)
        medium = data.select([task], "medium").returns.mean()
        assert MEDIUM[0] <= (medium - known["random"]) / (known["expert"] - known["random"]) <= MEDIUM[1]
        assert data.metadata["sources"][str(task)]["expert"]["policy"] == "actor-000000500"
    note = json.loads((tmp_path / "data" / "experts" / "shipped" / shipped.NOTE).read_text())
    assert note == artifacts.read_header(assets / "point", artifacts.EXPERT)
    assert data.metadata["run"]["updates"] == 0


def test_they_come_before_training_and_after_a_script(assets: Path) -> None:
    point = get_suite("point")
    assert list(sources_of(point)) == ["scripted", "shipped", "goal-conditioned", "per-task", "random"]
    assert next(iter(sources_of(replace(point, experts={})))) == "shipped"
    own = Shipped(assets / "point", "the suite's own")
    assert sources_of(replace(point, experts={"shipped": own}))["shipped"] is own


def test_a_variant_uses_the_suites_experts_under_its_own_goals(assets: Path, tmp_path: Path) -> None:
    point = get_suite("point")
    goal = (float(np.cos(0.9)), float(np.sin(0.9)))  # nearest to task 2, at pi / 4
    tasks = (replace(point.tasks[0], goal=goal),)
    variant = replace(point, name="point-pdt", variant_of="point", tasks=tasks, train=(0,), test=(0,))
    source = shipped_with(variant)
    assert source == shipped_with(point) == Shipped(assets / "point")
    (rungs,) = source.ladders(variant, [0], tmp_path / "one", 0, 0, silent).values()
    assert rungs == source.ladders(point, [2], tmp_path / "two", 0, 0, silent)[2]
    at_goal = source.acting(variant, 0, rungs[-1])(1)(np.array([goal]), np.zeros((1, 2)))
    np.testing.assert_allclose(at_goal, 0.0, atol=1e-6)  # it is its own goal that the actor sees


def test_half_precision_acts_through_single(tmp_path: Path) -> None:
    write_actor(tmp_path / "half.safetensors", 0.3, dtype=np.float16)
    half = read_arrays(tmp_path / "half.safetensors", "expert")
    act = sac_actor(tmp_path / "half.safetensors", (1.0, 0.0))(3)
    observations = np.array([[0.1, 0.2], [300.0, -7e4], [0.0, 0.0]])  # 7e4 is not finite in half precision
    found = act(observations, np.zeros((3, 2)))
    gain = float(half["Dense_2.kernel"][0, 0])
    expected = np.tanh(np.float32(gain) * (np.array([1.0, 0.0]) - observations))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


# Bad input, one line each


def test_damage_is_one_line(assets: Path, tmp_path: Path) -> None:
    actor = next((assets / "point").glob("actor-*"))
    raw = actor.read_bytes()
    for damaged in (raw[:-1], raw[:-1] + b"x"):
        actor.write_bytes(damaged)
        with pytest.raises(UserError, match=rf"{actor.name} is damaged") as caught:
            collect(CONFIG, tmp_path / "data")
        assert "\n" not in str(caught.value) and not (tmp_path / "data").exists()
    actor.unlink()
    with pytest.raises(UserError, match=f"not a complete expert: {actor.name} is missing"):
        collect(CONFIG, tmp_path / "data")


def test_an_edited_header_is_one_line(assets: Path, tmp_path: Path) -> None:
    path = assets / "point" / HEADER
    path.write_text(path.read_text().replace('"commit": "0123abc"', '"commit": "fedcba9"'))
    with pytest.raises(UserError, match="damaged or was edited"):
        collect(CONFIG, tmp_path / "data")


def test_another_suites_experts_are_refused(assets: Path) -> None:
    with pytest.raises(UserError, match="holds experts of suite point, not of cheetah-vel"):
        Shipped(assets / "point").check(get_suite("cheetah-vel"), ["expert"], 0)


def test_a_number_of_updates_is_refused(assets: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leave out updates, or train others"):
        collect(replace(CONFIG, updates=100), tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_an_unfinished_collection_does_not_go_on_with_other_experts(
    assets: Path, trained: Path, tmp_path: Path
) -> None:
    source, point = Shipped(assets / "point"), get_suite("point")
    source.ladders(point, [0], tmp_path / "experts", 0, 0, silent)
    source.ladders(point, [0], tmp_path / "experts", 0, 0, silent)
    pack(replace(packed(trained, assets), last=400))
    with pytest.raises(UserError, match="tells of other experts"):
        source.ladders(point, [0], tmp_path / "experts", 0, 0, silent)


# Packing


def test_packing_says_what_it_measured(assets: Path) -> None:
    header = artifacts.read_header(assets / "point", artifacts.EXPERT)
    assert header["commit"] == "0123abc" and header["command"] == "written down by a test"
    assert sorted(header["files"]) == sorted(header["updates"])
    point = get_suite("point")
    assert [tuple(task["goal"]) for task in header["tasks"]] == [task.goal for task in point.tasks]
    for index, task in enumerate(header["tasks"]):
        assert task["rungs"][-1] == "actor-000000500.safetensors" and len(task["rungs"]) == len(task["levels"]) + 1
        assert task["random"] < task["expert"] < 0
        assert task["episodes"] == (20 if index in point.test else 5)
    assert {path.name for path in (assets / "point").iterdir()} == {*header["files"], HEADER}
    assert read_arrays(assets / "point" / "actor-000000500.safetensors", "expert")["Dense_0.bias"].dtype == np.float16


def test_packing_again_measures_nothing_and_gives_the_same(assets: Path, trained: Path) -> None:
    before = {path.name: path.read_bytes() for path in (assets / "point").iterdir()}
    pack(packed(trained, assets), lambda stage, *_: pytest.fail(stage))
    assert {path.name: path.read_bytes() for path in (assets / "point").iterdir()} == before


def test_packing_given_rungs_replaces_what_was_there(assets: Path, trained: Path) -> None:
    header = pack(replace(packed(trained, assets), rungs=(200,), last=400))
    assert header["updates"] == {"actor-000000200.safetensors": 200, "actor-000000400.safetensors": 400}
    assert {path.name for path in (assets / "point").iterdir()} == {*header["files"], HEADER}


def test_packing_touches_nothing_else(assets: Path, trained: Path) -> None:
    (assets / "point" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds notes\.txt, which is no part of an expert"):
        pack(packed(trained, assets))
    with pytest.raises(UserError, match="no actor of 250 updates"):
        pack(replace(packed(trained, assets / "new"), rungs=(250,)))
    with pytest.raises(UserError, match="holds no actors"):
        pack(replace(packed(assets, assets / "new")))


def test_packing_refuses_what_half_precision_cannot_hold(tmp_path: Path) -> None:
    write_actor(tmp_path / "trained" / "actor-000000001.safetensors", 1e6)
    with pytest.raises(UserError, match="not finite in half precision"):
        pack(packed(tmp_path / "trained", tmp_path / "assets"))


# What ships


@pytest.mark.parametrize("folder", ASSET_FOLDERS, ids=lambda folder: str(folder.name))
def test_what_ships_is_whole_and_of_its_suite(folder: Path) -> None:
    suite = get_suite(folder.name)
    header = artifacts.read_header(folder, artifacts.EXPERT)
    assert header["suite"] == suite.name
    assert [tuple(task["goal"]) for task in header["tasks"]] == [task.goal for task in suite.tasks]
    assert next(iter(sources_of(suite))) == "shipped"
    assert {path.name for path in folder.iterdir()} == {*header["files"], HEADER}
    assert max(path.stat().st_size for path in folder.iterdir()) < 200_000


@pytest.mark.slow
@pytest.mark.parametrize("folder", ASSET_FOLDERS, ids=lambda folder: str(folder.name))
def test_a_test_task_of_what_ships(folder: Path, tmp_path: Path) -> None:
    """Medium quality where it must be, and the expert's return near the measured one."""
    suite = get_suite(folder.name)
    task = suite.test[0]
    data = collect(CollectConfig(suite.name, (task,), trajectories=20), tmp_path / "data")
    known = data.references(task)
    gap = known["expert"] - known["random"]
    said = artifacts.read_header(folder, artifacts.EXPERT)["tasks"][task]
    assert abs(known["expert"] - said["expert"]) < 0.1 * gap
    medium = data.select([task], "medium").returns.mean()
    assert MEDIUM[0] <= (medium - known["random"]) / gap <= MEDIUM[1]


def test_no_training_library_is_imported(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from trajtune.experts.collect import CollectConfig, collect
collect(CollectConfig("cheetah-vel-pdt", (2,), trajectories=1, qualities=("expert",)), Path({str(tmp_path / "data")!r}))
print(*(m for m in ("jax", "flax", "sbx", "stable_baselines3", "torch") if m in sys.modules))
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []
