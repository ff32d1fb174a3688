"""Recording and collecting where nothing can be relabelled: two bodies, a hidden goal, episodes that end early."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.experts.collecting import Killed, Mortal, contents
from tests.experts.walkers import WAIT, make, walkers
from trajtune.errors import UserError
from trajtune.experts import collect as collecting
from trajtune.experts.actors import random_actor
from trajtune.experts.collect import collect
from trajtune.experts.config import CollectConfig
from trajtune.experts.ladder import MEDIUM, Ladder, record_medium
from trajtune.experts.recording import mean_return, record, record_seeds
from trajtune.progress import silent
from trajtune.suites import get_suite
from trajtune.suites.base import Rung
from trajtune.suites.scripted import Scripted

CONFIG = CollectConfig("walkers", (0, 1), trajectories=4)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the collection find the walkers by their name."""
    suites = {"walkers": walkers}
    monkeypatch.setattr(collecting, "get_suite", lambda name: suites[name]() if name in suites else get_suite(name))


def ladder(task: int) -> Ladder:
    suite = walkers()
    source = suite.experts["patient"]
    return Ladder(suite, task, source, source.ladders(suite, [task], Path(), 0, 0, silent)[task])


def test_an_episode_depends_on_its_seed_alone() -> None:
    suite = get_suite("point")
    source = suite.experts["scripted"]
    acting = source.acting(suite, 3, Rung("noisy", "1.0"))
    together, alone = record(suite, 3, acting, [1, 2, 3]), record(suite, 3, acting, [2])[0]
    for name in ("observations", "actions", "rewards", "achieved", "final_observation"):
        np.testing.assert_array_equal(getattr(together[1], name), getattr(alone, name))
    assert together[1].seed == alone.seed == 2 and alone.success is not None
    assert alone.achieved is not None and suite.relabel is not None
    goal = np.asarray(suite.task(3).goal)
    assert suite.relabel.reward(alone.achieved, alone.actions, goal).sum() == pytest.approx(alone.episode_return)


@pytest.mark.parametrize("task", [0, 1])
def test_episodes_end_where_the_body_ends_them(task: int) -> None:
    """Episodes of different lengths, recorded together, are those that each would have been alone."""
    steps = ladder(task)
    together = steps.record(steps.top, [1, 2, 3, 4])
    assert all(e.terminated for e in together)
    assert len({len(e.rewards) for e in together}) > 1
    for episode in together:
        (alone,) = steps.record(steps.top, [episode.seed])
        for name in ("observations", "actions", "rewards", "final_observation"):
            np.testing.assert_array_equal(getattr(episode, name), getattr(alone, name))
        assert len(episode.observations) == len(episode.rewards) < steps.suite.horizon(task)


def test_an_episode_is_cut_at_the_horizon_of_its_task() -> None:
    suite = walkers()
    for task in (0, 1):
        lazy = record(suite, task, lambda n: lambda observations, noise: np.zeros((n, 1)), [5, 6])
        assert [len(e.rewards) for e in lazy] == [suite.horizon(task)] * 2
        assert not any(e.terminated for e in lazy)


@pytest.mark.parametrize(("task", "raw"), [(0, 2), (1, 3)])
def test_the_expert_sees_what_the_store_does_not(task: int, raw: int) -> None:
    """The script asserts the width of what it sees; the episode holds the view, of the states the body was in."""
    steps = ladder(task)
    (episode,) = steps.record(steps.top, [7], sampled=False)
    env = make(steps.suite.task(task))
    observation, _ = env.reset(seed=7)
    for t, action in enumerate(episode.actions):
        assert observation.shape == (raw,)
        np.testing.assert_array_equal(episode.observations[t], observation[:1])
        observation, *_ = env.step(action)
    np.testing.assert_array_equal(episode.final_observation, observation[:1])


def test_an_expert_that_remembers_starts_afresh_with_every_batch() -> None:
    steps = ladder(0)
    acting = steps.acting(steps.top)
    first, second = (record(steps.suite, 0, acting, [1, 2], sampled=False) for _ in range(2))
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.actions, two.actions)
        assert not one.actions[:WAIT].any() and one.actions[WAIT:].all()


def test_a_blend_asks_both_policies_at_every_step() -> None:
    steps = ladder(0)
    place = steps.top - 0.25  # between the script with a little noise and without any
    assert steps.name(place) == "0.25 script + 0.3 noise + 0.75 script"
    noisy, exact = (steps.acting(p)(2) for p in (steps.top - 1.0, steps.top))
    both = steps.acting(place)(2)
    for t in range(2 * WAIT):
        observations, noise = np.array([[0.1 * t, 2.0], [3.0, 2.0]]), np.full((2, 1), 0.5)
        expected = 0.25 * noisy(observations, noise) + 0.75 * exact(observations, noise)
        np.testing.assert_array_equal(both(observations, noise), expected)


def test_actions_of_the_wrong_shape_are_one_line() -> None:
    with pytest.raises(UserError, match=r"gave actions \(2, 3\), expected \(2, 1\)"):
        record(walkers(), 0, lambda n: lambda observations, noise: np.zeros((n, 3)), [5, 6])


# Collecting


def test_references_are_recorded_on_each_task(tmp_path: Path) -> None:
    data, suite = collect(CONFIG, tmp_path), walkers()
    for task in (0, 1):
        random = record(suite, task, random_actor, record_seeds(0, task, "random", 20))
        assert data.references(task)["random"] == mean_return(random)
        means = {quality: data.select([task], quality).returns.mean() for quality in ("expert", "medium")}
        assert data.references(task)["expert"] == pytest.approx(means["expert"], rel=1e-5)
        low, high = (data.references(task)[kind] for kind in ("random", "expert"))
        assert MEDIUM[0] <= (means["medium"] - low) / (high - low) <= MEDIUM[1]
        assert "success" not in data.metadata["sources"][str(task)]["expert"]
    assert data.metadata["run"]["experts"] == "patient" and data.metadata["horizon"] == 20
    flat = data.trajectories
    assert flat.observations.shape[1] == 1 and len(set(flat.length.tolist())) > 2
    ended = flat.terminated | (flat.length == np.array([suite.horizon(task) for task in flat.task.tolist()]))
    assert ended.all() and flat.terminated[data.quality == 0].all()


def test_what_was_achieved_is_stored_where_every_task_says_it(tmp_path: Path) -> None:
    collect(replace(CONFIG, tasks=(0,)), tmp_path / "walker")
    collect(CONFIG, tmp_path / "both")
    assert "achieved.npy" in contents(tmp_path / "walker")
    assert "achieved.npy" not in contents(tmp_path / "both")
    stored = np.load(tmp_path / "walker" / "achieved.npy")
    observations = np.load(tmp_path / "walker" / "observations.npy")
    assert stored.shape == observations.shape
    np.testing.assert_array_equal(stored[0], observations[1])  # where the walker stood after its first step


def test_killed_at_any_change_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        clean = Mortal(patch, 10**9)
        collect(CONFIG, tmp_path / "clean")
    for deadly in range(clean.changes):
        with monkeypatch.context() as patch:
            Mortal(patch, deadly)
            with pytest.raises(Killed):
                collect(CONFIG, tmp_path / str(deadly))
        collect(CONFIG, tmp_path / str(deadly))
        assert contents(tmp_path / str(deadly)) == contents(tmp_path / "clean"), f"killed before change {deadly}"


def test_random_data_need_no_expert(tmp_path: Path) -> None:
    """A hopper that acts at random falls, sooner or later: every episode has its own length and a real end."""
    config = CollectConfig("gym:Hopper-v5", (0,), ("random",), trajectories=4, experts="random")
    data = collect(config, tmp_path)
    assert data.qualities == ["random"] and set(data.references(0)) == {"random"}
    assert data.trajectories.terminated.all() and len(set(data.trajectories.length.tolist())) > 1
    assert np.abs(data.trajectories.actions).max() > 0.5


def test_an_expert_no_better_than_random_leaves_no_medium(tmp_path: Path) -> None:
    suite = walkers()
    idle = Scripted(lambda task, n: lambda observations: -np.sign(observations[:, 1:2] - observations[:, :1]))
    steps = Ladder(suite, 0, idle, idle.ladders(suite, [0], tmp_path, 0, 0, silent)[0])
    with pytest.raises(UserError, match=r"suite walkers, task 0: .* nothing is of medium quality: train the expert"):
        record_medium(steps, {"random": -10.0, "expert": -10.0}, [1], [2])
