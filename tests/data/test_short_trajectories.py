"""A trajectory too short for a prompt still gives windows; a task without any long enough is one clear error."""

import numpy as np
import pytest

from trajtune.data import draw_batch
from trajtune.data.trajectories import from_episodes
from trajtune.errors import UserError


def episode(length: int) -> dict[str, np.ndarray]:
    return {"observations": np.full((length, 1), length), "actions": np.zeros((length, 1)), "rewards": np.ones(length)}


def test_prompts_come_from_trajectories_that_are_long_enough() -> None:
    data = from_episodes([episode(2), episode(9), episode(3)])
    batch = draw_batch(data, np.random.default_rng(0), 64, 4, 5)
    assert (batch.prompt.observations == 9).all()
    assert {2.0, 3.0, 9.0} <= set(batch.window.observations[batch.window.mask].flatten().tolist())
    with pytest.raises(UserError, match="no trajectory of task 0 has the 10 steps"):
        draw_batch(data, np.random.default_rng(0), 8, 4, 10)
