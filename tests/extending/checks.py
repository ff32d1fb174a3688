"""What every suite, agent and format must satisfy, wherever it is from. Algorithms and tunings: tests/conformance."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from trajtune.agents.base import Agent
from trajtune.agents.saving import SavedAgent, load_agent, save_agent
from trajtune.data.episodes import Episode, from_episodes
from trajtune.data.formats.base import Format
from trajtune.errors import UserError
from trajtune.progress import silent
from trajtune.suites.base import Suite
from trajtune.types import Batch, Prompt, Window


def check_suite(suite: Suite, tmp_path: Path) -> None:
    """Sizes, seeds, horizons, what ``info`` promises, and experts that stay in the box."""
    assert suite.train and suite.test
    rng = np.random.default_rng(0)
    for task in suite.tasks:
        courses = []
        for seed in (0, 0, 1):
            env = suite.make(task)
            observation, _ = env.reset(seed=seed)
            course = [suite.view(observation)]
            actions = np.random.default_rng(5).uniform(-1.0, 1.0, (suite.horizon(task.index), suite.action_dim))
            for action in actions:
                observation, reward, terminated, truncated, info = env.step(action)
                course.append(suite.view(observation))
                assert course[-1].shape == (suite.observation_dim,)
                assert np.isfinite(reward) and np.isfinite(course[-1]).all()
                assert not suite.has_success or info["success"] in (True, False)
                assert suite.relabel is None or "achieved" in info
                if terminated or truncated:
                    break
            assert terminated or (truncated and len(course) == suite.horizon(task.index) + 1)
            env.close()
            courses.append(np.stack(course))
        assert np.array_equal(courses[0], courses[1])  # an episode is a function of its seed and actions
        assert courses[0].shape != courses[2].shape or not np.array_equal(courses[0], courses[2])
        raw = suite.make(task).reset(seed=0)[0]
        for name, source in suite.experts.items():
            rungs = source.ladders(suite, [task.index], tmp_path / name, updates=0, seed=0, progress=silent)
            for rung in rungs[task.index]:
                noise = rng.standard_normal((3, suite.action_dim))
                acts = source.acting(suite, task.index, rung)(3)(np.tile(raw, (3, 1)), noise)
                assert acts.shape == noise.shape and (np.abs(acts) <= 1.0).all(), rung.name


def windows(agent: Agent, batch: int, steps: int, valid: int) -> Window:
    """Random windows of which the first ``valid`` steps are there."""
    spec, generator = agent.spec, torch.Generator().manual_seed(1)
    mask = torch.arange(steps).expand(batch, steps) < valid

    def numbers(*size: int) -> Tensor:
        return torch.randn(batch, steps, *size, generator=generator).clamp(-1.0, 1.0)

    return Window(
        returns_to_go=numbers(),
        observations=numbers(spec.observation_dim),
        actions=numbers(spec.action_dim),
        rewards=numbers(),
        timesteps=torch.arange(steps).expand(batch, steps),
        terminals=torch.zeros_like(mask),
        mask=mask,
        present=mask,
        index=torch.zeros(batch, steps, dtype=torch.int64),
    )


def prompts(agent: Agent, batch: int) -> Prompt | None:
    """Random prompts of as many steps as the agent wants."""
    spec, generator = agent.spec, torch.Generator().manual_seed(2)
    if spec.prompt == 0:
        return None
    size = (batch, spec.prompt)
    return Prompt(
        torch.randn(size, generator=generator),
        torch.randn(*size, spec.observation_dim, generator=generator),
        torch.rand(*size, spec.action_dim, generator=generator),
        torch.arange(spec.prompt).expand(size),
    )


@torch.no_grad()
def check_agent(agent: Agent, folder: Path) -> None:
    """Actions in the box, from the past only; the actor does what ``forward`` says; saved and loaded is the same."""
    agent.eval()
    spec, rows = agent.spec, 3
    window, prompt = windows(agent, rows, spec.window, spec.window), prompts(agent, rows)
    mean = agent(Batch(prompt, window))
    assert mean.shape == (rows, spec.window, spec.action_dim)
    assert mean.dtype == torch.float32 and bool((mean.abs() <= 1.0).all())

    # Step k must not see action k, nor anything later.
    for k in range(spec.window):
        for name in ("returns_to_go", "observations", "actions"):
            changed = getattr(window, name).clone()
            changed[:, k if name == "actions" else k + 1 :] += 3.0
            other = agent(Batch(prompt, replace(window, **{name: changed})))
            torch.testing.assert_close(other[:, : k + 1], mean[:, : k + 1], rtol=1e-5, atol=1e-6)

    actor = agent.actor(prompt)
    last = None
    for t in range(spec.window):
        acted = actor.act(t, window.returns_to_go[:, t], window.observations[:, t], last)
        torch.testing.assert_close(acted, mean[:, t], rtol=1e-4, atol=1e-5)
        last = window.actions[:, t]

    saved = SavedAgent.of(agent, "cart")
    folder.mkdir(parents=True, exist_ok=True)
    save_agent(folder, agent, "cart", {}, {})
    loaded = load_agent(folder)
    assert loaded.digest == saved.digest
    assert type(loaded.agent) is type(agent) and loaded.agent.spec == spec
    assert torch.equal(loaded.agent(Batch(prompt, window)), mean)


def check_format(form: Format, path: Path, episodes: list[Episode]) -> None:
    """What was written is recognised and read to the bit; a damaged file is one line that names it."""
    assert not form.recognises(path.with_name("nothing.here")) and not form.recognises(path)
    assert form.write is not None
    form.write(path, episodes)
    assert form.recognises(path)
    found, expected = from_episodes(form.read(path)), from_episodes(episodes)
    for name, array in vars(expected).items():
        other = getattr(found, name)
        assert other is None if array is None else np.array_equal(other, array), name
    path.write_bytes(b"\x00\xff, damaged")
    for broken in (path, path.with_name("missing" + path.suffix)):
        with pytest.raises(UserError) as caught:
            list(form.read(broken))
        assert str(broken) in str(caught.value) and "\n" not in str(caught.value)
