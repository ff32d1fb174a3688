"""Scores of many episodes at once against one episode at a time; pairing, endings, success, dimensions."""

import dataclasses
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers import new_agent
from trajtune.agents.base import PlainActor
from trajtune.agents.prompt_dt.config import PromptDTConfig
from trajtune.agents.saving import SavedAgent
from trajtune.data.fewshot import Brief, make_brief
from trajtune.data.store import Dataset
from trajtune.errors import UserError
from trajtune.rollout.score import Score, Subject, episode_seed, evaluate, score
from trajtune.suites import get_suite
from trajtune.suites.base import Suite
from trajtune.suites.point import PointEnv
from trajtune.tunings.making import make_policy

EPISODES = 4
Episode = tuple[float, bool, list[np.ndarray]]


def slow_episodes(subject: Any, suite: Suite, task: int, brief: Brief, plain: bool = True) -> list[Episode]:
    """Return, success and what was achieved, one episode after the other, by the plain actor where there is one."""
    found = []
    for i in range(EPISODES):
        prompt = brief.prompts[i % len(brief.prompts) :][:1]
        actor = PlainActor(subject, prompt, torch.float32) if plain else subject.actor(prompt)
        env = suite.make(suite.task(task))
        observation, _ = env.reset(seed=episode_seed(0, task, i))
        total, success, achieved, last = 0.0, False, [], None
        for t in range(suite.horizon(task)):
            state = torch.from_numpy(np.asarray(observation, np.float32))[None]
            asked = torch.tensor([brief.target_return if brief.delayed else brief.target_return - total])
            last = actor.act(t, asked.float(), state, last)
            observation, reward, terminated, truncated, info = env.step(last[0].numpy())
            total += reward
            success |= info["success"]
            achieved.append(info["achieved"])
            if terminated or truncated:
                break
        found.append((total, success, achieved))
    return found


def scored(subject: Subject, suite: Suite, briefs: dict[int, Brief], **options: Any) -> list[Score]:
    return score(subject, suite, briefs, **{"episodes": EPISODES, "precision": "fp32", **options})


@pytest.fixture(scope="module")
def briefs(point_data: Dataset) -> dict[int, Brief]:
    return {
        task: make_brief(point_data.select([task], "medium").loaded(), 3, point_data.references(task), seed=0)
        for task in (2, 9, 14)
    }


@pytest.fixture
def agent(point_agent: SavedAgent) -> Any:
    return point_agent.agent


POINT = get_suite("point")


def returns(episodes: list[Episode]) -> Any:
    return pytest.approx([episode[0] for episode in episodes], abs=1e-4)


def test_equals_one_episode_at_a_time(agent: Any, briefs: dict[int, Brief]) -> None:
    (found,) = scored(agent, POINT, {9: briefs[9]})
    slow = slow_episodes(agent, POINT, 9, briefs[9])
    assert found.returns == returns(slow)
    assert np.ptp(found.returns) > 1e-2  # different seeds and prompts do not give one episode
    np.testing.assert_allclose(found.achieved, np.mean([e[2] for e in slow], axis=0), atol=1e-4)


def test_a_delayed_reward_is_not_seen_but_counted(agent: Any, briefs: dict[int, Brief]) -> None:
    """The return-to-go stays what was asked for; the score is made of the real rewards."""
    late = replace(briefs[9], delayed=True)
    found, other = scored(agent, POINT, {9: late, 2: briefs[2]})
    assert found.returns == returns(slow_episodes(agent, POINT, 9, late))
    assert other.returns == pytest.approx(scored(agent, POINT, {2: briefs[2]})[0].returns, abs=1e-4)
    assert found.returns != pytest.approx(scored(agent, POINT, {9: briefs[9]})[0].returns, abs=1e-2)


def test_tasks_together_equal_tasks_alone(agent: Any, briefs: dict[int, Brief]) -> None:
    together = scored(agent, POINT, briefs)
    assert [each.task for each in together] == [2, 9, 14]
    for each in together:
        (alone,) = scored(agent, POINT, {each.task: briefs[each.task]})
        assert each.returns == pytest.approx(alone.returns, abs=1e-4)
        assert (each.name, each.normalised) == (alone.name, pytest.approx(alone.normalised, abs=1e-4))


def test_same_seed_same_bits(agent: Any, briefs: dict[int, Brief]) -> None:
    assert scored(agent, POINT, briefs) == scored(agent, POINT, briefs)
    assert scored(agent, POINT, briefs)[0].returns != scored(agent, POINT, briefs, seed=1)[0].returns


def test_seeds_are_paired_across_cells() -> None:
    seeds = [episode_seed(s, t, e) for s in range(2) for t in range(3) for e in range(4)]
    assert len(set(seeds)) == len(seeds)
    assert seeds == [episode_seed(s, t, e) for s in range(2) for t in range(3) for e in range(4)]


def test_episodes_take_prompts_in_turn(agent: Any, briefs: dict[int, Brief]) -> None:
    few = replace(briefs[2], prompts=briefs[2].prompts[:3])
    (found,) = scored(agent, POINT, {2: few})
    (whole,) = scored(agent, POINT, {2: briefs[2]})
    turned = replace(briefs[2], prompts=briefs[2].prompts[torch.tensor([0, 1, 2, 0])])
    assert found == scored(agent, POINT, {2: turned})[0]
    assert found.returns[:3] == whole.returns[:3] and found.returns[3] != whole.returns[3]


@pytest.mark.parametrize("tuning", ["prompt", "adapter", "decorator", "full"])
def test_a_policy_is_scored_as_it_acts(agent: Any, briefs: dict[int, Brief], tuning: str) -> None:
    policy = make_policy(tuning, agent, briefs[2].prompts[:1], std=0.2)
    (before,) = scored(policy, POINT, {2: briefs[2]})
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    (after,) = scored(policy, POINT, {2: briefs[2]})
    assert after.returns != pytest.approx(before.returns, abs=1e-2)
    assert after.returns == returns(slow_episodes(policy, POINT, 2, briefs[2], plain=False))


def test_fields_by_hand(agent: Any, briefs: dict[int, Brief]) -> None:
    brief = replace(briefs[9], references={"random": -50.0, "expert": -10.0})
    (found,) = scored(agent, POINT, {9: brief}, seed=5)
    assert len(found.returns) == len(found.lengths) == EPISODES
    assert found.mean_return == pytest.approx(sum(found.returns) / EPISODES)
    assert found.normalised == pytest.approx((found.mean_return + 50.0) / 40.0)
    low, high = found.interval
    assert min(found.returns) <= low < found.mean_return < high <= max(found.returns)
    assert (found.suite, found.task, found.name) == ("point", 9, POINT.task(9).name)
    assert (found.target_return, found.seed, found.precision) == (brief.target_return, 5, "fp32")
    assert np.shape(found.achieved) == (POINT.horizon(9), 2)
    again = json.loads(json.dumps(found.to_json()))
    assert again.keys() == {f.name for f in dataclasses.fields(Score)}
    assert again["returns"] == found.returns
    (unknown,) = scored(agent, POINT, {9: replace(brief, references={"random": -50.0})})
    assert unknown.normalised is None


def with_env(env: type[PointEnv]) -> Suite:
    return replace(POINT, make=lambda task: env(task.goal))


class Passing(PointEnv):
    """Meets the goal at its fourth step alone, if its seed is even."""

    def reset(self, *, seed: int | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        assert seed is not None
        self._lucky = seed % 2 == 0
        return super().reset(seed=seed)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated, {**info, "success": self._lucky and self._t == 4}


def test_success_at_any_step_counts(agent: Any, briefs: dict[int, Brief]) -> None:
    scores = scored(agent, with_env(Passing), briefs, episodes=7)
    even = {task: [episode_seed(0, task, i) % 2 == 0 for i in range(7)] for task in briefs}
    assert [each.successes for each in scores] == [even[each.task] for each in scores]
    assert [each.success for each in scores] == [sum(even[each.task]) / 7 for each in scores]
    assert 0 < sum(map(sum, even.values())) < 21


class Silent(PointEnv):
    """Says neither what was achieved nor what success is."""

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        return *super().step(action)[:4], {}


def test_what_nobody_says_is_not_known(agent: Any, briefs: dict[int, Brief]) -> None:
    (found,) = scored(agent, with_env(Silent), {9: briefs[9]})
    assert found.success is None and found.successes is None and found.achieved == []
    assert found.returns == scored(agent, POINT, {9: briefs[9]})[0].returns


class EndingEnv(PointEnv):
    """Ends by itself after a number of steps that its seed decides, and must then be left alone."""

    def reset(self, *, seed: int | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        assert seed is not None
        self._last, self._ended = 3 + seed % 20, False
        return super().reset(seed=seed)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        assert not self._ended, "stepped after its end"
        observation, reward, _, truncated, info = super().step(action)
        self._ended = self._t >= self._last
        return observation, reward, self._ended, truncated, info


class TestEarlyEnd:
    suite = with_env(EndingEnv)

    def test_return_stops_counting(self, agent: Any, briefs: dict[int, Brief]) -> None:
        (found,) = scored(agent, self.suite, {9: briefs[9]})
        slow = slow_episodes(agent, self.suite, 9, briefs[9])
        lengths = [len(episode[2]) for episode in slow]
        assert len(set(lengths)) > 1 and max(lengths) < self.suite.horizon(9)
        assert found.returns == returns(slow) and found.lengths == lengths
        assert len(found.achieved) == max(lengths)
        going = [episode[2][-1] for episode in slow if len(episode[2]) == max(lengths)]
        assert found.achieved[-1] == pytest.approx(np.mean(going, axis=0).tolist(), abs=1e-4)

    def test_stops_when_all_have_ended(self, agent: Any, briefs: dict[int, Brief]) -> None:
        steps: list[tuple[int, int]] = []
        (found,) = scored(agent, self.suite, {9: briefs[9]}, progress=lambda stage, *done: steps.append(done))
        assert steps == [(t, 30) for t in range(1, len(found.achieved) + 1)]

    def test_tasks_that_end_at_different_times(self, agent: Any, briefs: dict[int, Brief]) -> None:
        for each in scored(agent, self.suite, briefs):
            slow = slow_episodes(agent, self.suite, each.task, briefs[each.task])
            assert each.returns == returns(slow)
            assert len(each.achieved) == max(len(episode[2]) for episode in slow)

    def test_an_environment_that_never_ends_is_stopped_at_the_horizon(
        self, agent: Any, briefs: dict[int, Brief]
    ) -> None:
        class Endless(PointEnv):
            def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
                observation, reward, _, _, info = super().step(action)
                return observation, reward, False, False, info

        (found,) = scored(agent, with_env(Endless), {9: briefs[9]})
        assert found.lengths == [30] * EPISODES


def test_agent_of_other_dimensions(briefs: dict[int, Brief]) -> None:
    def sized(states: int, actions: int, longest: int = 200) -> Any:
        return new_agent(PromptDTConfig(states, actions, longest, layers=1, width=8))

    with pytest.raises(UserError, match="3 observations and 2 actions, suite point has 2 and 2"):
        scored(sized(3, 2), POINT, briefs)
    with pytest.raises(UserError, match="2 observations and 1 actions"):
        scored(sized(2, 1), POINT, briefs)
    with pytest.raises(UserError, match="knows 29 timesteps, suite point has 30"):
        scored(sized(2, 2, 29), POINT, briefs)
    with pytest.raises(UserError, match="episodes must be at least 1, got 0"):
        scored(sized(2, 2), POINT, briefs, episodes=0)


def test_evaluate_takes_the_brief_that_the_agent_carries(point_agent: SavedAgent) -> None:
    found = evaluate(point_agent, "point", 5, episodes=EPISODES, precision="fp32")
    assert found == scored(point_agent.agent, POINT, {5: point_agent.briefs[5]})[0]
    with pytest.raises(UserError, match="no brief of task 5: hand one in"):
        evaluate(replace(point_agent, briefs={}), "point", 5)
