"""Meta-World's scripts as experts: what a random share is, what is recorded, and whether every script still works."""

from pathlib import Path

import numpy as np
import pytest

from trajtune.data.store import Dataset
from trajtune.experts.collect import collect
from trajtune.experts.config import CollectConfig
from trajtune.experts.ladder import MEDIUM, Ladder
from trajtune.experts.recording import mean_return, record
from trajtune.suites import get_suite
from trajtune.suites.metaworld_experts import EPSILONS, MetaWorldScripts, _Script, mostly

# Without the package


def test_a_share_of_the_actions_is_uniform() -> None:
    noise = np.random.default_rng(0).standard_normal((40_000, 4))
    script = np.full((40_000, 4), 2.0)  # no uniform action is 2
    found = mostly(script, noise, 0.3)
    drawn = found[found[:, 0] != 2.0]
    assert len(drawn) / 40_000 == pytest.approx(0.3, abs=0.01)
    assert (np.abs(drawn) <= 1.0).all()
    np.testing.assert_allclose(drawn.mean(axis=0), 0.0, atol=0.02)
    np.testing.assert_allclose(drawn.std(axis=0), np.sqrt(1 / 3), atol=0.01)  # of a uniform on [-1, 1]
    np.testing.assert_allclose(np.corrcoef(drawn.T), np.eye(4), atol=0.03)
    assert ((found == 2.0).all(axis=1) == (found[:, 0] == 2.0)).all()  # a whole action or none of it


def test_no_share_is_the_script_whatever_the_noise() -> None:
    actions = np.ones((3, 4))
    assert mostly(actions, np.full((3, 4), -9.0), 0.0) is actions


def test_rungs_go_from_nearly_random_to_the_script() -> None:
    suite = get_suite("metaworld-ml45")
    ladder = suite.experts["scripted"].ladders(suite, [3, 45], Path(), 0, 0, lambda *step: None)
    assert list(ladder) == [3, 45]
    assert EPSILONS[0] == 0.95 and EPSILONS[-1] == 0.0 and list(EPSILONS) == sorted(EPSILONS, reverse=True)
    assert [rung.name for rung in ladder[3]][::19] == ["script, 95% random", "script"]


class Counting:
    """Stands for a script of Meta-World: its gripper says how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def get_action(self, observation: np.ndarray) -> np.ndarray:
        assert observation.shape == (39,)
        self.asked += 1
        return np.array([5.0, -5.0, 0.5, self.asked / 10], np.float32)


@pytest.mark.parametrize("holds", [False, True])
def test_resting_begins_with_success_and_keeps_the_grip(monkeypatch: pytest.MonkeyPatch, holds: bool) -> None:
    monkeypatch.setattr("trajtune.suites.metaworld_experts._policies", lambda: {"some": Counting})
    script = _Script("some", holds)
    raw, met = np.zeros(40), np.append(np.zeros(39), 1.0)
    seen = [script(observation) for observation in (raw, raw, met, raw)]
    moving = [[1.0, -1.0, 0.5, grip] for grip in (0.1, 0.2, 0.3, 0.4)]
    resting = [[0.0, 0.0, 0.0, 0.2]] * 2
    np.testing.assert_allclose(seen, moving[:2] + (resting if holds else moving[2:]), rtol=1e-6)


def test_each_episode_has_a_script_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trajtune.suites.metaworld_experts._policies", lambda: {"pick-place-v3": Counting})
    suite, source = get_suite("metaworld-ml1-pick-place"), MetaWorldScripts(frozenset([7]), "pick-place-v3")
    rungs = source.ladders(suite, [7], Path(), 0, 0, lambda *step: None)[7]
    acting = source.acting(suite, 7, rungs[-1])
    act, raw, noise = acting(2), np.zeros((2, 40)), np.zeros((2, 4))
    act(raw, noise)
    raw[1, 39] = 1.0
    np.testing.assert_allclose(act(raw, noise)[:, 3], [0.2, 0.1], rtol=1e-6)
    np.testing.assert_allclose(acting(1)(raw[:1], noise[:1])[0, 3], 0.1, rtol=1e-6)  # begun anew


# With it


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Ten expert and ten medium trajectories of two goals, hidden."""
    pytest.importorskip("metaworld")
    config = CollectConfig("metaworld-ml1-pick-place", (11, 36), trajectories=10)
    return collect(config, tmp_path_factory.mktemp("metaworld") / "data")


def test_the_expert_sees_the_goal_and_the_data_do_not(data: Dataset) -> None:
    flat = data.trajectories
    assert flat.observations.shape[1] == 39
    np.testing.assert_array_equal(flat.observations[:, 36:], 0.0)
    assert flat.final_observations is not None
    np.testing.assert_array_equal(flat.final_observations[:, 36:], 0.0)
    assert (flat.length == 101).all() and not flat.terminated.any()
    for task in ("11", "36"):
        assert data.metadata["sources"][task]["expert"]["success"] >= 0.9  # it could not without the goal


def test_medium_lies_in_its_range(data: Dataset) -> None:
    for task in (11, 36):
        known, mean = data.references(task), float(data.select([task], "medium").returns.mean())
        assert MEDIUM[0] <= (mean - known["random"]) / (known["expert"] - known["random"]) <= MEDIUM[1]


def test_stored_episodes_repeat_from_seed_and_actions(data: Dataset) -> None:
    suite, flat = get_suite("metaworld-ml1-pick-place"), data.trajectories
    for i in (0, len(flat) - 1):
        task = int(flat.task[i])
        env = suite.make(suite.task(task))
        observation, _ = env.reset(seed=int(data.seeds[i]))
        for row in range(flat.start[i], flat.start[i] + flat.length[i]):
            np.testing.assert_array_equal(flat.observations[row], suite.view(observation).astype(np.float32))
            observation, reward, *_ = env.step(flat.actions[row])
            assert flat.rewards[row] == np.float32(reward)


def test_an_episode_does_not_depend_on_those_beside_it() -> None:
    pytest.importorskip("metaworld")
    suite = get_suite("metaworld-ml45")
    source = suite.experts["scripted"]
    rungs = source.ladders(suite, [45], Path(), 0, 0, lambda *step: None)[45]
    acting = Ladder(suite, 45, source, rungs).acting(9.5)  # a blend of two
    together, alone = record(suite, 45, acting, [1, 2, 3]), record(suite, 45, acting, [2])[0]
    for name in ("observations", "actions", "rewards", "final_observation"):
        np.testing.assert_array_equal(getattr(together[1], name), getattr(alone, name))


@pytest.mark.slow
@pytest.mark.parametrize("task", range(50))
def test_every_script_succeeds(task: int) -> None:
    """Scripts regress between versions of Meta-World: each must do as well as when its references were measured."""
    pytest.importorskip("metaworld")
    suite = get_suite("metaworld-ml45")
    source, known = suite.experts["scripted"], suite.references[task]
    rung = source.ladders(suite, [task], Path(), 0, 0, lambda *step: None)[task][-1]
    episodes = record(suite, task, source.acting(suite, task, rung), list(range(10)), sampled=False)
    share = float(np.mean([episode.success for episode in episodes]))
    assert share >= min(0.8, known["expert_success"] - 0.25)
    assert mean_return(episodes) == pytest.approx(known["expert"], rel=0.25)
