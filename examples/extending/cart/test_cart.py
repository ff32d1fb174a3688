"""Two steps by hand, and an expert that does what the suite asks for."""

from pathlib import Path

import numpy as np
import pytest
from trajtune_cart import CartEnv, cart

from trajtune.progress import silent


def test_two_steps_by_hand() -> None:
    """From (x, v) at full force: v + 0.2, then x + 0.1 v; the reward is -|x - 1| - 0.1."""
    env = CartEnv(1.0)
    (x, v), _ = env.reset(seed=0)
    for step in (1, 2):
        v += 0.2
        x += 0.1 * v
        observation, reward, terminated, truncated, info = env.step(np.array([5.0]))  # clipped to 1
        assert observation == pytest.approx([x, v], rel=1e-12)
        assert reward == pytest.approx(-abs(x - 1.0) - 0.1, rel=1e-12)
        assert (terminated, truncated, info["success"]) == (False, False, False), step


@pytest.mark.parametrize("task", range(3))
def test_the_script_comes_to_rest_at_every_place(task: int, tmp_path: Path) -> None:
    """The last rung of the ladder is the expert; an episode is cut off at the horizon."""
    suite = cart()
    source = suite.experts["scripted"]
    best = source.ladders(suite, [task], tmp_path, updates=0, seed=0, progress=silent)[task][-1]
    act, env = source.acting(suite, task, best)(1), suite.make(suite.task(task))
    observation, _ = env.reset(seed=7)
    for t in range(suite.horizon(task)):
        observation, _, _, truncated, info = env.step(act(observation[None], np.zeros((1, 1)))[0])
        assert truncated == (t + 1 == suite.horizon(task))
    assert info["success"]
