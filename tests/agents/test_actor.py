"""Fast acting against slow acting: no cache, no folded block."""

import pytest
import torch
from torch import Tensor

from tests.helpers import random_agent, random_prompt
from trajtune.agents.base import PlainActor
from trajtune.agents.prompt_dt.config import PromptDTConfig
from trajtune.agents.prompt_dt.model import PromptDT
from trajtune.agents.saving import SavedAgent
from trajtune.data.fewshot import FewShot
from trajtune.errors import UserError
from trajtune.types import Batch, Prompt, Window

History = list[tuple[float, Tensor, Tensor | None]]


@torch.no_grad()
def slow_action(agent: PromptDT, prompt: Prompt | None, history: History) -> Tensor:
    """The action [A] for the newest of the steps (return-to-go, raw observation, action): a forward over the window."""
    k, t = agent.spec.window, len(history) - 1
    steps = history[-k:]
    nothing_yet = torch.zeros(agent.spec.action_dim)
    yes = torch.ones(1, len(steps), dtype=torch.bool)
    window = Window(
        returns_to_go=torch.tensor([[step[0] for step in steps]], dtype=torch.float32),
        observations=torch.stack([step[1] for step in steps]).unsqueeze(0),
        actions=torch.stack([nothing_yet if step[2] is None else step[2] for step in steps]).unsqueeze(0),
        rewards=torch.zeros(1, len(steps)),
        timesteps=torch.arange(t - len(steps) + 1, t + 1).unsqueeze(0),
        terminals=~yes,
        mask=yes,
        present=yes,
        index=torch.zeros(1, len(steps), dtype=torch.int64),
    )
    return agent(Batch(prompt, window))[0, -1]


@pytest.mark.parametrize(
    ("layers", "width", "heads", "prompt"), [(3, 128, 1, 2), (1, 32, 2, 2), (2, 64, 4, 2), (2, 32, 2, 0), (1, 16, 1, 0)]
)
def test_both_actors_equal_a_forward_pass_a_step(layers: int, width: int, heads: int, prompt: int) -> None:
    """90 steps with a window of 5: the buffers, which hold 8 windows, are moved back twice."""
    config = PromptDTConfig(3, 2, 90, layers, width, heads, window=5, prompt=prompt)
    agent, g = random_agent(config, scale=0.1), torch.Generator().manual_seed(1)
    agent.observation_mean.copy_(torch.tensor([1.0, -1.0, 0.5]))
    agent.return_scale.fill_(3.0)
    rows, end = 2, config.max_timesteps
    prompts = random_prompt(prompt, 3, 2, rows, first=4) if prompt else None
    observations, returns = torch.randn(end, rows, 3, generator=g), torch.randn(end, rows, generator=g)
    # What was done need not be what the agent proposed: a residual may have been added.
    noise = torch.randn(end, rows, 2, generator=g)
    fast, plain, found, done = agent.actor(prompts), PlainActor(agent, prompts, torch.float32), [], None
    for t in range(end):
        action = fast.act(t, returns[t], observations[t], done)
        torch.testing.assert_close(plain.act(t, returns[t], observations[t], done), action, rtol=0, atol=2e-5)
        found.append(action)
        done = action + noise[t]
    for row in range(rows):
        history: History = []
        slow = []
        for t in range(end):
            history.append((float(returns[t, row]), observations[t, row], None))
            slow.append(slow_action(agent, None if prompts is None else prompts[row : row + 1], history))
            history[-1] = (*history[-1][:2], found[t][row] + noise[t, row])
        torch.testing.assert_close(torch.stack(found)[:, row], torch.stack(slow), rtol=0, atol=2e-5)
        assert torch.stack(slow).std(0).min() > 0.01


def test_past_the_longest_episode_is_an_error(point_agent: SavedAgent, point_few: FewShot) -> None:
    prompt = point_few.brief.prompts[:1]
    asked, state = torch.tensor([-3.0]), prompt.observations[:, 0]
    for actor in (point_agent.agent.actor(prompt), PlainActor(point_agent.agent, prompt, torch.float32)):
        with pytest.raises(UserError, match="the agent knows 30 time steps and is asked to act at step 31"):
            actor.act(30, asked, state, None)


def test_bf16_roughly_agrees(point_agent: SavedAgent, point_few: FewShot) -> None:
    prompt = point_few.brief.prompts[:8]
    asked, states = torch.full((8,), -20.0), prompt.observations[:, 0]
    exact = point_agent.agent.actor(prompt).act(0, asked, states, None)
    for actor in (
        point_agent.agent.actor(prompt, torch.bfloat16),
        PlainActor(point_agent.agent, prompt, torch.bfloat16),
    ):
        rounded = actor.act(0, asked, states, None)
        assert rounded.dtype == torch.float32
        assert 0 < (exact - rounded).abs().max() < 0.05
