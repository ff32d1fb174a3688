"""Sparse rewards against a naive loop, and what sampling makes of them."""

import numpy as np
import pytest
import torch

from trajtune.data.episodes import from_episodes
from trajtune.data.sampling import draw_windows
from trajtune.data.trajectories import Trajectories
from trajtune.data.transforms import REWARDS

LENGTHS, ENDED = (1, 7, 4), (False, True, False)


def data() -> Trajectories:
    rng = np.random.default_rng(0)
    return from_episodes(
        [
            {
                "observations": rng.normal(size=(n + 1, 3)),
                "actions": rng.uniform(-1, 1, size=(n, 2)),
                "rewards": rng.normal(size=n),
                "terminated": end,
            }
            for n, end in zip(LENGTHS, ENDED, strict=True)
        ]
    )


@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 0]])
def test_sparse_is_what_a_loop_writes(rows: list[int]) -> None:
    picked = data().subset(rows)
    found = REWARDS["sparse"].apply(picked)
    for i in range(len(rows)):
        before = slice(picked.start[i], picked.start[i] + picked.length[i])
        after = slice(found.start[i], found.start[i] + found.length[i])
        total = float(np.sum(picked.rewards[before], dtype=np.float64))
        *early, last = found.rewards[after]
        assert not np.any(early) and last == pytest.approx(total, rel=1e-6)
        assert found.returns_to_go[after] == pytest.approx(np.full(picked.length[i], total), rel=1e-6)
        np.testing.assert_array_equal(found.observations[after], picked.observations[before])
        np.testing.assert_array_equal(found.actions[after], picked.actions[before])
    np.testing.assert_array_equal(found.returns, picked.returns)
    assert found.terminated.all() and found.task.tolist() == picked.task.tolist()


def test_the_original_is_left_alone() -> None:
    picked = data()
    before = picked.digest()
    REWARDS["sparse"].apply(picked)
    assert picked.digest() == before


def test_dense_is_as_recorded() -> None:
    picked = data()
    assert REWARDS["dense"].apply(picked) is picked
    assert [reward.delayed for reward in REWARDS.values()] == [False, True]


def test_the_last_step_is_a_terminal_that_no_state_follows() -> None:
    """It would be left out, or looked beyond, if it ended at a time limit, and no reward would be seen anywhere."""
    found = REWARDS["sparse"].apply(data())
    window, which = draw_windows(found, np.random.default_rng(0), 50, 7)
    ends = window.timesteps == torch.from_numpy(found.length[which] - 1)[:, None]
    ends &= window.mask
    assert ends.any() and torch.equal(ends, window.terminals) and torch.equal(window.present, window.mask)
    returns = torch.from_numpy(found.returns[which]).float()[:, None].expand(50, 7)
    torch.testing.assert_close(window.rewards, torch.where(ends, returns, 0.0))
