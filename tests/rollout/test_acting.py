"""Fast acting against slow acting: no cache, no folded block, one environment at a time."""

import dataclasses
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trajtune.agents import AgentConfig, PromptDT, SavedAgent, initialise
from trajtune.data import Dataset, TaskPrompts, make_prompts
from trajtune.errors import UserError
from trajtune.policy import Plain
from trajtune.rollout import Actor, Score, evaluate_plain, mean_interval, paired_interval
from trajtune.rollout.evaluate import episode_seed
from trajtune.suites import Suite, get_suite
from trajtune.suites.point import PointEnv
from trajtune.types import Batch, Prompt, Window

EPISODES = 4


@torch.no_grad()
def slow_action(agent: PromptDT, prompt: Prompt, history: list[tuple[float, Tensor, Tensor | None]]) -> Tensor:
    """The action [A] for the newest of the steps (return-to-go, raw observation, action): a forward over the window."""
    k, t = agent.config.window, len(history) - 1
    steps = history[-k:]
    nothing_yet = torch.zeros(agent.config.action_dim)
    window = Window(
        returns_to_go=torch.tensor([[step[0] for step in steps]], dtype=torch.float32),
        observations=torch.stack([step[1] for step in steps]).unsqueeze(0),
        actions=torch.stack([nothing_yet if step[2] is None else step[2] for step in steps]).unsqueeze(0),
        rewards=torch.zeros(1, len(steps)),
        timesteps=torch.arange(t - len(steps) + 1, t + 1).unsqueeze(0),
        terminals=torch.zeros(1, len(steps), dtype=torch.bool),
        mask=torch.ones(1, len(steps), dtype=torch.bool),
        index=torch.zeros(1, len(steps), dtype=torch.int64),
    )
    return agent(Batch(prompt, window))[0, -1]


def slow_episode(
    plain: Plain, suite: Suite, task: int, prompt: Prompt, target: float, seed: int, delayed: bool
) -> tuple[float, bool, list[np.ndarray]]:
    """Return, success and what was achieved in one episode."""
    env = suite.make(suite.task(task))
    observation, _ = env.reset(seed=seed)
    history: list[tuple[float, Tensor, Tensor | None]] = []
    total, success, achieved = 0.0, False, []
    for _ in range(suite.horizon):
        state = torch.from_numpy(np.asarray(observation, np.float32))
        to_go = target if delayed else target - total
        history.append((to_go, state, None))
        action = slow_action(plain.agent, prompt, history)
        if plain.residual is not None:
            with torch.no_grad():
                action = (action + plain.residual(plain.agent.normalise(state))).clamp(-1.0, 1.0)
        history[-1] = (to_go, state, action)
        observation, reward, terminated, truncated, info = env.step(action.numpy())
        total += reward
        success |= info["success"]
        achieved.append(info["achieved"])
        if terminated or truncated:
            break
    return total, success, achieved


def slow_episodes(plain: Plain, suite: Suite, task: int, entry: TaskPrompts) -> list[tuple[float, bool, list[Any]]]:
    return [
        slow_episode(
            plain,
            suite,
            task,
            entry.prompts[i : i + 1] if plain.prompt is None else plain.prompt,
            entry.target_return,
            episode_seed(0, task, i),
            entry.delayed,
        )
        for i in range(EPISODES)
    ]


def evaluated(plain: Plain, suite: Suite, prompts: dict[int, TaskPrompts], **options: Any) -> list[Score]:
    return evaluate_plain(plain, suite, prompts, **{"episodes": EPISODES, "precision": "fp32", **options})


@pytest.fixture(scope="module")
def prompts(point_data: Dataset) -> dict[int, TaskPrompts]:
    return {
        task: make_prompts(point_data.select([task], "medium").loaded(), 3, point_data.references(task), seed=0)
        for task in (2, 9, 14)
    }


@pytest.fixture
def plain(point_agent: SavedAgent) -> Plain:
    return Plain(point_agent.agent)


class TestActor:
    @pytest.mark.parametrize(("layers", "width", "heads"), [(3, 128, 1), (1, 32, 2), (2, 64, 4)])
    def test_equals_the_plain_agent_over_a_long_episode(self, layers: int, width: int, heads: int) -> None:
        """90 steps with a window of 5: the buffers, which hold 8 windows, are moved back twice."""
        config = AgentConfig(3, 2, layers, width, heads, window=5, prompt=2, max_timesteps=90)
        agent = initialise(config, seed=0).eval()
        g = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in agent.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=g), alpha=0.1)
            agent.observation_mean.copy_(torch.tensor([1.0, -1.0, 0.5]))
            agent.return_scale.fill_(3.0)
        b, t_end = 2, config.max_timesteps
        prompt = Prompt(
            torch.randn(b, 2, generator=g),
            torch.randn(b, 2, 3, generator=g),
            torch.randn(b, 2, 2, generator=g),
            torch.arange(2).expand(b, 2) + 4,
        )
        observations = torch.randn(t_end, b, 3, generator=g)
        returns = torch.randn(t_end, b, generator=g)
        # What was done need not be what the agent proposed: a residual may have been added.
        noise = torch.randn(t_end, b, 2, generator=g)

        actor = Actor(agent)
        for _ in range(2):  # begin makes it as new
            actor.begin(prompt)
            fast, done = [], None
            for t in range(t_end if _ else 7):
                action = actor.act(t, returns[t], agent.normalise(observations[t]), done)
                fast.append(action)
                done = action + noise[t]
        for row in range(b):
            history: list[tuple[float, Tensor, Tensor | None]] = []
            slow = []
            for t in range(t_end):
                history.append((float(returns[t, row]), observations[t, row], None))
                slow.append(slow_action(agent, prompt[row : row + 1], history))
                history[-1] = (*history[-1][:2], fast[t][row] + noise[t, row])
            torch.testing.assert_close(torch.stack(fast)[:, row], torch.stack(slow), rtol=0, atol=2e-5)
            assert torch.stack(slow).std(0).min() > 0.01

    def test_bf16_roughly_agrees(self, point_agent: SavedAgent, prompts: dict[int, TaskPrompts]) -> None:
        prompt = prompts[2].prompts[:8]
        actions = []
        for dtype in (torch.float32, torch.bfloat16):
            actor = Actor(point_agent.agent, dtype)
            actor.begin(prompt)
            actions.append(actor.act(0, torch.full((8,), -20.0), prompt.observations[:, 0], None))
        assert actions[1].dtype == torch.float32
        assert 0 < (actions[0] - actions[1]).abs().max() < 0.05


class TestEvaluate:
    def test_equals_one_episode_at_a_time(self, plain: Plain, prompts: dict[int, TaskPrompts]) -> None:
        suite = get_suite("point")
        (score,) = evaluated(plain, suite, {9: prompts[9]})
        slow = slow_episodes(plain, suite, 9, prompts[9])
        assert score.returns == pytest.approx([episode[0] for episode in slow], abs=1e-4)
        assert np.ptp(score.returns) > 1e-2  # different seeds and prompts do not give one episode
        np.testing.assert_allclose(score.achieved, np.mean([e[2] for e in slow], axis=0), atol=1e-4)

    def test_a_delayed_reward_is_not_seen_but_counted(self, plain: Plain, prompts: dict[int, TaskPrompts]) -> None:
        """The return-to-go stays what was asked for; the score is made of the real rewards."""
        suite, late = get_suite("point"), replace(prompts[9], delayed=True)
        both = {9: late, 2: prompts[2]}
        score, other = evaluated(plain, suite, both)
        assert score.returns == pytest.approx([e[0] for e in slow_episodes(plain, suite, 9, late)], abs=1e-4)
        assert other.returns == pytest.approx(evaluated(plain, suite, {2: prompts[2]})[0].returns, abs=1e-4)
        assert score.returns != pytest.approx(evaluated(plain, suite, {9: prompts[9]})[0].returns, abs=1e-2)

    def test_tasks_together_equal_tasks_alone(self, plain: Plain, prompts: dict[int, TaskPrompts]) -> None:
        suite = get_suite("point")
        together = evaluated(plain, suite, prompts)
        assert [score.task for score in together] == [2, 9, 14]
        for score in together:
            (alone,) = evaluated(plain, suite, {score.task: prompts[score.task]})
            assert score.returns == pytest.approx(alone.returns, abs=1e-4)
            assert (score.name, score.normalised) == (alone.name, pytest.approx(alone.normalised, abs=1e-4))

    def test_same_seed_same_bits(self, plain: Plain, prompts: dict[int, TaskPrompts]) -> None:
        suite = get_suite("point")
        assert evaluated(plain, suite, prompts) == evaluated(plain, suite, prompts)
        assert evaluated(plain, suite, prompts)[0].returns != evaluated(plain, suite, prompts, seed=1)[0].returns

    def test_seeds_are_paired_across_cells(self) -> None:
        seeds = [episode_seed(s, t, e) for s in range(2) for t in range(3) for e in range(4)]
        assert len(set(seeds)) == len(seeds)
        assert episode_seed(1, 2, 3) == int(np.random.default_rng([1, 2, 3]).integers(2**31))

    def test_episodes_take_prompts_in_turn(self, plain: Plain, prompts: dict[int, TaskPrompts]) -> None:
        suite, few = get_suite("point"), replace(prompts[2], prompts=prompts[2].prompts[:3])
        (score,) = evaluated(plain, suite, {2: few})
        (whole,) = evaluated(plain, suite, {2: prompts[2]})
        turned = replace(prompts[2], prompts=prompts[2].prompts[torch.tensor([0, 1, 2, 0])])
        assert score == evaluated(plain, suite, {2: turned})[0]
        assert score.returns[:3] == whole.returns[:3] and score.returns[3] != whole.returns[3]

    def test_own_prompt_is_acted_under(self, plain: Plain, prompts: dict[int, TaskPrompts]) -> None:
        suite, own = get_suite("point"), prompts[14].prompts[:1]
        (score,) = evaluated(plain._replace(prompt=own), suite, {2: prompts[2]})
        slow = slow_episodes(plain._replace(prompt=own), suite, 2, prompts[2])
        assert score.returns == pytest.approx([episode[0] for episode in slow], abs=1e-4)
        assert score.returns != pytest.approx(evaluated(plain, suite, {2: prompts[2]})[0].returns, abs=1e-2)

    def test_residual_is_added_and_clipped(self, plain: Plain, prompts: dict[int, TaskPrompts]) -> None:
        suite, residual = get_suite("point"), nn.Linear(2, 2)
        with torch.no_grad():
            residual.weight.copy_(torch.tensor([[0.3, -0.2], [0.1, 0.4]]))
            residual.bias.copy_(torch.tensor([0.6, -0.9]))
        (score,) = evaluated(plain._replace(residual=residual), suite, {2: prompts[2]})
        slow = slow_episodes(plain._replace(residual=residual), suite, 2, prompts[2])
        assert score.returns == pytest.approx([episode[0] for episode in slow], abs=1e-4)
        assert score.returns != pytest.approx(evaluated(plain, suite, {2: prompts[2]})[0].returns, abs=1e-2)

    def test_fields_by_hand(self, plain: Plain, prompts: dict[int, TaskPrompts]) -> None:
        suite = get_suite("point")
        entry = replace(prompts[9], references={"random": -50.0, "expert": -10.0})
        (score,) = evaluated(plain, suite, {9: entry}, seed=5)
        assert len(score.returns) == EPISODES
        assert score.mean_return == pytest.approx(sum(score.returns) / EPISODES)
        assert score.normalised == pytest.approx((score.mean_return + 50.0) / 40.0)
        low, high = score.interval
        assert min(score.returns) <= low < score.mean_return < high <= max(score.returns)
        assert (score.suite, score.task, score.name) == ("point", 9, suite.task(9).name)
        assert (score.target_return, score.seed, score.precision) == (entry.target_return, 5, "fp32")
        assert np.shape(score.achieved) == (suite.horizon, 2)
        assert score.to_json()["returns"] == score.returns
        (unknown,) = evaluated(plain, suite, {9: replace(entry, references={"random": -50.0})})
        assert unknown.normalised is None

    def test_success_at_any_step_counts(self, plain: Plain, prompts: dict[int, TaskPrompts]) -> None:
        class Passing(PointEnv):
            """Meets the goal at its fourth step alone, if its seed is even."""

            def reset(self, *, seed: int | None = None) -> tuple[np.ndarray, dict[str, Any]]:
                assert seed is not None
                self._lucky = seed % 2 == 0
                return super().reset(seed=seed)

            def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
                observation, reward, terminated, truncated, info = super().step(action)
                return observation, reward, terminated, truncated, {**info, "success": self._lucky and self._t == 4}

        suite = replace(get_suite("point"), make=lambda task: Passing(task.goal))
        scores = evaluated(plain, suite, prompts, episodes=7)
        even = {task: sum(episode_seed(0, task, i) % 2 == 0 for i in range(7)) for task in prompts}
        assert [score.success for score in scores] == [even[score.task] / 7 for score in scores]
        assert 0 < sum(even.values()) < 21

    def test_suite_without_success(self, plain: Plain, prompts: dict[int, TaskPrompts]) -> None:
        suite = replace(get_suite("point"), has_success=False)
        assert evaluated(plain, suite, {9: prompts[9]})[0].success is None

    def test_agent_of_other_dimensions(self, prompts: dict[int, TaskPrompts]) -> None:
        suite = get_suite("point")
        with pytest.raises(UserError, match="3 observations and 2 actions, suite point has 2 and 2"):
            evaluated(Plain(PromptDT(AgentConfig(3, 2, width=8))), suite, prompts)
        with pytest.raises(UserError, match="2 observations and 1 actions"):
            evaluated(Plain(PromptDT(AgentConfig(2, 1, width=8))), suite, prompts)
        with pytest.raises(UserError, match="knows 29 timesteps, suite point has 30"):
            evaluated(Plain(PromptDT(AgentConfig(2, 2, width=8, max_timesteps=29))), suite, prompts)
        with pytest.raises(UserError, match="episodes must be at least 1, got 0"):
            evaluated(Plain(PromptDT(AgentConfig(2, 2, width=8))), suite, prompts, episodes=0)


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
    suite = replace(get_suite("point"), make=lambda task: EndingEnv(task.goal))

    def test_return_stops_counting(self, plain: Plain, prompts: dict[int, TaskPrompts]) -> None:
        (score,) = evaluated(plain, self.suite, {9: prompts[9]})
        slow = slow_episodes(plain, self.suite, 9, prompts[9])
        lengths = [len(episode[2]) for episode in slow]
        assert len(set(lengths)) > 1 and max(lengths) < self.suite.horizon
        assert score.returns == pytest.approx([episode[0] for episode in slow], abs=1e-4)
        assert np.isfinite(score.achieved).all()
        assert len(score.achieved) == max(lengths)
        longest = slow[int(np.argmax(lengths))][2]
        assert score.achieved[-1] == pytest.approx(longest[-1].tolist(), abs=1e-4)  # the only one still going

    def test_stops_when_all_have_ended(self, plain: Plain, prompts: dict[int, TaskPrompts]) -> None:
        steps: list[tuple[int, int]] = []
        (score,) = evaluated(plain, self.suite, {9: prompts[9]}, progress=lambda *done: steps.append(done))
        assert steps == [(t, 30) for t in range(1, len(score.achieved) + 1)]

    def test_tasks_that_end_at_different_times(self, plain: Plain, prompts: dict[int, TaskPrompts]) -> None:
        for score in evaluated(plain, self.suite, prompts):
            slow = slow_episodes(plain, self.suite, score.task, prompts[score.task])
            assert score.returns == pytest.approx([episode[0] for episode in slow], abs=1e-4)
            assert len(score.achieved) == max(len(episode[2]) for episode in slow)


class TestIntervals:
    def test_of_a_mean(self) -> None:
        values = np.random.default_rng(0).normal(3.0, 2.0, 200)
        low, high = mean_interval(values)
        half = 1.96 * values.std() / math.sqrt(200)  # what the central limit theorem says
        assert low == pytest.approx(values.mean() - half, abs=0.05)
        assert high == pytest.approx(values.mean() + half, abs=0.05)
        assert mean_interval(values) == (low, high)
        narrow = mean_interval(values, confidence=0.5)
        assert low < narrow[0] < narrow[1] < high

    def test_of_values_that_do_not_differ(self) -> None:
        assert mean_interval([4.0]) == (4.0, 4.0)
        assert mean_interval([0.1, 0.1, 0.1]) == (pytest.approx(0.1), pytest.approx(0.1))

    def test_paired(self) -> None:
        a = np.random.default_rng(0).normal(size=50) * 100
        assert paired_interval(a.tolist(), a.tolist()) == (0.0, 0.0)
        low, high = paired_interval((a + 1.0 + 0.01 * np.sin(a)).tolist(), a.tolist())
        assert 0.98 < low < high < 1.02  # although the returns themselves vary a hundred times as much
        assert mean_interval(a)[1] - mean_interval(a)[0] > 10


def test_score_is_plain_data(plain: Plain, prompts: dict[int, TaskPrompts]) -> None:
    import json

    (score,) = evaluated(plain, get_suite("point"), {2: prompts[2]})
    again = json.loads(json.dumps(score.to_json()))
    assert again.keys() == {f.name for f in dataclasses.fields(Score)}
    assert again["returns"] == score.returns
