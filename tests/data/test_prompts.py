"""Prompts against naive loops: from which task, which trajectory and which step; and none at all."""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from tests.data.made import data, generator
from trajtune.data.episodes import from_episodes
from trajtune.data.sampling import draw_batch, draw_prompts, draw_windows
from trajtune.errors import UserError

LONG, FOUR_TASKS = (5, 9, 3, 4, 6, 3, 8), (1, 1, 2, 4, 4, 4, 9)


def test_prompts_are_of_the_windows_task() -> None:
    batch = draw_batch(data(LONG, FOUR_TASKS, final=True), generator(), 4000, 6, 3)
    tasks = batch.window.observations[:, 0, 0]
    assert set(tasks.tolist()) == {1.0, 2.0, 4.0, 9.0}
    assert batch.prompt is not None and (batch.prompt.observations[:, :, 0] == tasks[:, None]).all()


def test_prompts_are_uniform_over_the_tasks_trajectories_and_their_starts() -> None:
    prompt = draw_batch(data(LONG, FOUR_TASKS), generator(5), 30_000, 2, 3).prompt
    assert prompt is not None
    task, number, step = prompt.observations[:, 0].T.to(torch.int64)
    trajectories = Counter(number[task == 4].tolist())
    assert set(trajectories) == {4, 5, 6}
    assert chisquare(list(trajectories.values())).pvalue > 1e-3
    starts = Counter(step[number == 5].tolist())  # six steps: four starts
    assert set(starts) == {1, 2, 3, 4}
    assert chisquare(list(starts.values())).pvalue > 1e-3


def test_prompts_are_what_a_loop_cuts() -> None:
    picked = data(LONG, FOUR_TASKS, final=True).subset([6, 1, 4])
    which = generator().integers(3, size=100)
    prompt = draw_prompts(picked, generator(1), which, 3)
    assert len(prompt) == 100 and prompt.timesteps.dtype == torch.int64
    for b, i in enumerate(which):
        first = int(prompt.timesteps[b, 0])
        assert prompt.timesteps[b].tolist() == [first, first + 1, first + 2]
        assert first + 3 <= picked.length[i]
        rows = slice(picked.start[i] + first, picked.start[i] + first + 3)
        for name in ("observations", "actions", "returns_to_go"):
            np.testing.assert_array_equal(getattr(prompt, name)[b], getattr(picked, name)[rows])


def test_a_prompt_may_be_a_whole_trajectory_and_no_longer() -> None:
    picked = data((3, 5), (0, 0))
    assert draw_prompts(picked, generator(), np.array([0, 0]), 3).timesteps.tolist() == [[0, 1, 2]] * 2
    with pytest.raises(UserError, match="a trajectory has 3 steps, fewer than the prompt's 4"):
        draw_prompts(picked, generator(), np.array([1, 0]), 4)


def test_a_batch_without_prompts() -> None:
    picked = data(final=True)
    batch = draw_batch(picked, generator(), 16, 4, 0, max_timesteps=5)
    assert batch.prompt is None
    window, _ = draw_windows(picked, generator(), 16, 4, 5)
    assert all(torch.equal(tensor, batch.window.flat()[name]) for name, tensor in window.flat().items())


def short(length: int) -> dict[str, np.ndarray]:
    return {"observations": np.full((length, 1), length), "actions": np.zeros((length, 1)), "rewards": np.ones(length)}


def test_prompts_come_from_trajectories_that_are_long_enough() -> None:
    picked = from_episodes([short(2), short(9), short(3)])
    batch = draw_batch(picked, np.random.default_rng(0), 64, 4, 5)
    assert batch.prompt is not None and (batch.prompt.observations == 9).all()
    assert {2.0, 3.0, 9.0} <= set(batch.window.observations[batch.window.mask].flatten().tolist())
    with pytest.raises(UserError, match="no trajectory of task 0 has the 10 steps"):
        draw_batch(picked, np.random.default_rng(0), 8, 4, 10)
