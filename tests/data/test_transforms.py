"""Sparse rewards against a naive loop, and what finetuning and acting make of them."""

import numpy as np
import pytest
import torch
from trajtune.algorithms.owned import transitions

from trajtune.algorithms.losses import td_target
from trajtune.data import REWARDS, draw_windows
from trajtune.data.trajectories import Trajectories, from_episodes
from trajtune.errors import UserError
from trajtune.training import FewShot

LENGTHS, ENDED = (1, 7, 4), (False, True, False)


def data() -> Trajectories:
    rng = np.random.default_rng(0)
    return from_episodes(
        [
            {
                "observations": rng.normal(size=(n, 3)),
                "actions": rng.normal(size=(n, 2)),
                "rewards": rng.normal(size=n),
                "terminated": end,
            }
            for n, end in zip(LENGTHS, ENDED, strict=True)
        ]
    )


@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 0]])
def test_sparse_is_what_a_loop_writes(rows: list[int]) -> None:
    picked = data().subset(rows)
    found = REWARDS["sparse"].transform(picked)
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
    picked, again = data(), data()
    REWARDS["sparse"].transform(picked)
    for name in ("rewards", "returns_to_go", "terminated"):
        np.testing.assert_array_equal(getattr(picked, name), getattr(again, name))


def test_dense_is_as_recorded() -> None:
    picked = data()
    assert REWARDS["dense"].transform(picked) is picked


def test_the_last_step_reaches_the_td_target() -> None:
    """It would be left out if it ended at a time limit, and no reward would be seen anywhere."""
    found = REWARDS["sparse"].transform(data())
    window, which = draw_windows(found, np.random.default_rng(0), 50, 7)
    target = td_target(window.rewards, window.terminals, torch.full((2, 50, 7), 100.0), gamma=0.5)
    ends = window.timesteps == torch.from_numpy(found.length[which] - 1)[:, None]
    ends &= window.mask
    assert ends.any() and torch.equal(ends, window.terminals)
    assert (transitions(window) & ends).sum() == ends.sum()
    expected = torch.from_numpy(found.returns[which]).float()[:, None].expand(50, 7)
    torch.testing.assert_close(target[ends], expected[ends])
    assert (target[window.mask & ~ends] == 50.0).all()


def test_few_shot_sets_say_which_reward_they_have() -> None:
    made = FewShot.of(data().subset([1, 2]), "own", 0, 2, reward="sparse")
    assert made.source["reward"] == "sparse" and made.prompts.delayed
    assert made.prompts.target_return == pytest.approx(data().returns[1:].max())
    assert set(made.prompts.prompts.returns_to_go.flatten().tolist()) == set(made.trajectories.returns.tolist())
    plain = FewShot.of(data().subset([1, 2]), "own", 0, 2)
    assert plain.source["reward"] == "dense" and not plain.prompts.delayed
    with pytest.raises(UserError, match="unknown reward 'spares': choose one of dense, sparse"):
        FewShot.of(data(), "own", 0, 1, reward="spares")
