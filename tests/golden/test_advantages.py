"""Advantages against naive loops, and against numbers small enough to work out by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.golden.by_hand import tensor
from trajtune.algorithms.advantages import gae, grid, group_advantages, groups, standardise, table
from trajtune.data.episodes import from_episodes
from trajtune.data.trajectories import Trajectories

LENGTHS, ENDED = (3, 7, 1, 5), (True, False, False, True)


def data() -> Trajectories:
    rng = np.random.default_rng(0)
    return from_episodes(
        [
            {
                "observations": rng.normal(size=(n, 2)),
                "actions": rng.uniform(-1.0, 1.0, size=(n, 1)),
                "rewards": rng.normal(size=n),
                "terminated": end,
            }
            for n, end in zip(LENGTHS, ENDED, strict=True)
        ]
    )


def everyone(n: int) -> Tensor:
    return torch.ones(n, n, dtype=torch.bool)


def test_grid_is_what_a_loop_lays_out() -> None:
    picked = data().subset([3, 0, 1])
    rows, valid = grid(picked)
    assert rows.shape == valid.shape == (3, 7)
    for i in range(3):
        for t in range(7):
            assert bool(valid[i, t]) == (t < picked.length[i])
            assert int(rows[i, t]) == (picked.start[i] + t if valid[i, t] else len(picked.rewards))


class TestStandardise:
    """Equation 8."""

    def test_by_hand(self) -> None:
        found = standardise(tensor([1.0, 3.0, 8.0]), torch.ones(3, dtype=torch.bool), 1e-3)
        deviation = ((9 + 1 + 16) / 3) ** 0.5
        assert found.tolist() == pytest.approx([-3 / deviation, -1 / deviation, 4 / deviation], rel=1e-6)

    def test_equal_returns_have_no_advantage(self) -> None:
        for value in (0.0, -163.7, 1e-20):
            found = standardise(torch.full((5,), value), torch.ones(5, dtype=torch.bool), 1e-3)
            assert torch.equal(found, torch.zeros(5))

    def test_a_rounding_error_is_not_a_difference(self) -> None:
        """Without a floor these would be -1 and 1."""
        residue = float(np.spacing(np.float32(163.7)))
        found = standardise(tensor([-163.7, -163.7 + residue]), torch.ones(2, dtype=torch.bool), 1e-3)
        assert torch.equal(found, torch.zeros(2, dtype=torch.float64))

    def test_the_floor_by_hand(self) -> None:
        """Deviation 0.5, mean magnitude 100: less than a floor of 1%, so the returns are equal."""
        returns = tensor([-99.5, -100.5])
        kept = torch.ones(2, dtype=torch.bool)
        assert standardise(returns, kept, 0.01).tolist() == pytest.approx([0.0, 0.0], abs=0.0)
        assert standardise(returns, kept, 0.001).tolist() == pytest.approx([1.0, -1.0], rel=1e-6)

    def test_free_of_the_scale_of_rewards(self) -> None:
        returns, kept = tensor([-3.0, 1.0, 7.0]), torch.ones(3, dtype=torch.bool)
        torch.testing.assert_close(standardise(1e-6 * returns, kept, 1e-3), standardise(returns, kept, 1e-3))

    def test_alone_there_is_nothing_to_compare(self) -> None:
        assert float(standardise(tensor([-7.0]), torch.tensor([True]), 1e-3)) == 0.0


class TestGroups:
    first = tensor([[0.0], [0.1], [5.0], [5.2], [0.0]])
    task = torch.tensor([0, 0, 0, 0, 1])

    def test_all_of_the_task(self) -> None:
        found = groups(self.first, self.task, 0)
        assert found.tolist() == [[True] * 4 + [False]] * 4 + [[False] * 4 + [True]]

    def test_the_nearest_initial_states(self) -> None:
        found = [np.flatnonzero(row).tolist() for row in groups(self.first, self.task, 2)]
        assert found == [[0, 1], [0, 1], [2, 3], [2, 3], [4]]  # never of another task, however near

    def test_everyone_is_in_its_own_group(self) -> None:
        same = torch.zeros(6, 3, dtype=torch.float64)  # all initial states are equal
        for size in (1, 2, 5, 9):
            found = groups(same, torch.zeros(6), size)
            assert found.diagonal().all()
            assert found.sum(1).tolist() == [min(size, 6)] * 6


def naive_group_advantages(values: Tensor, valid: Tensor, members: Tensor, floor: float) -> Tensor:
    found = torch.zeros_like(values)
    for i in range(len(values)):
        for t in range(values.shape[1]):
            if not valid[i, t]:
                continue
            group = [float(values[j, t]) for j in range(len(values)) if members[i, j] and valid[j, t]]
            mean = sum(group) / len(group)
            deviation = (sum((x - mean) ** 2 for x in group) / len(group)) ** 0.5
            lowest = max(floor * sum(abs(x) for x in group) / len(group), 1e-8)
            found[i, t] = (float(values[i, t]) - mean) / deviation if deviation > lowest else 0.0
    return found


@pytest.mark.parametrize("size", [0, 2, 3])
@pytest.mark.parametrize("floor", [1e-3, 0.8])
def test_group_advantages_are_what_a_loop_finds(size: int, floor: float) -> None:
    """For whole returns and for returns-to-go, against those of the same timestep."""
    picked = data()
    rows, valid = grid(picked)
    to_go = table(torch.from_numpy(picked.returns_to_go).double())[rows]
    members = groups(torch.from_numpy(picked.observations[picked.start]), torch.from_numpy(picked.task), size)
    for columns in (1, 7):
        found = group_advantages(to_go[:, :columns], valid[:, :columns], members, floor)
        expected = naive_group_advantages(to_go[:, :columns], valid[:, :columns], members, floor)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


def naive_gae(data: Trajectories, values: np.ndarray, final: np.ndarray | None, gamma: float, lam: float) -> np.ndarray:
    """Sum over l of (gamma lambda)^l delta_{t+l}, trajectory by trajectory, without recursion."""
    found = np.zeros(len(data.rewards))
    for i, (start, length, ended) in enumerate(zip(data.start, data.length, data.terminated, strict=True)):
        for t in range(length):
            for later in range(t, length):
                row = start + later
                if later + 1 < length:
                    delta = data.rewards[row] + gamma * values[row + 1] - values[row]
                elif ended:
                    delta = data.rewards[row] - values[row]
                elif final is not None:
                    delta = data.rewards[row] + gamma * final[i] - values[row]
                else:
                    delta = 0.0  # what follows a time limit is not known
                found[start + t] += (gamma * lam) ** (later - t) * delta
    return found


class TestGAE:
    @pytest.mark.parametrize("known", [True, False])
    @pytest.mark.parametrize(("gamma", "lam"), [(0.99, 0.95), (1.0, 1.0), (0.9, 0.0)])
    def test_is_what_a_loop_sums(self, gamma: float, lam: float, known: bool) -> None:
        picked, rng = data(), np.random.default_rng(1)
        values, final = rng.normal(size=len(picked.rewards)), rng.normal(size=len(picked))
        rows, valid = grid(picked)
        followed = torch.cat([valid[:, 1:], torch.zeros(len(picked), 1, dtype=torch.bool)], dim=1)
        terminals = valid & ~followed & torch.from_numpy(picked.terminated)[:, None]
        rewards, seen = (table(torch.from_numpy(x).double())[rows] for x in (picked.rewards, values))
        told = torch.full((len(picked),), known)
        found = gae(rewards, seen, followed, terminals, torch.from_numpy(final), told, gamma, lam)
        expected = torch.from_numpy(naive_gae(picked, values, final if known else None, gamma, lam))
        torch.testing.assert_close(found[valid], expected[rows[valid]], rtol=1e-6, atol=1e-12)

    def test_by_hand(self) -> None:
        """The second of two is terminal: delta_1 = 2 - 3, delta_0 = 1 + 0.5 * 3 - 2, A_0 = delta_0 + 0.1 delta_1."""
        followed, terminals = torch.tensor([[True, False]]), torch.tensor([[False, True]])
        after = tensor([7.0]), torch.tensor([True])  # of no concern: nothing follows a terminal
        found = gae(tensor([[1.0, 2.0]]), tensor([[2.0, 3.0]]), followed, terminals, *after, gamma=0.5, lam=0.2)
        assert found.flatten().tolist() == pytest.approx([0.5 + 0.1 * -1.0, -1.0], rel=1e-6)

    def test_a_time_limit_bootstraps_from_the_state_that_followed(self) -> None:
        """delta_1 = 2 + 0.5 * 7 - 3 = 2.5 with V = 7 of that state; A_0 = 0.5 + 0.1 * 2.5. Unknown: delta_1 = 0."""
        followed, terminals = torch.tensor([[True, False]]), torch.tensor([[False, False]])
        both = [
            gae(
                tensor([[1.0, 2.0]]),
                tensor([[2.0, 3.0]]),
                followed,
                terminals,
                tensor([7.0]),
                torch.tensor([known]),
                gamma=0.5,
                lam=0.2,
            )
            .flatten()
            .tolist()
            for known in (True, False)
        ]
        assert both[0] == pytest.approx([0.75, 2.5], rel=1e-6)
        assert both[1] == pytest.approx([0.5, 0.0], rel=1e-6)

    def test_with_lambda_one_and_an_ignorant_critic_it_is_the_return_to_go(self) -> None:
        rewards = tensor([[1.0, -2.0, 5.0]])
        followed, terminals = torch.tensor([[True, True, False]]), torch.tensor([[False, False, True]])
        none = tensor([0.0]), torch.tensor([False])
        found = gae(rewards, torch.zeros_like(rewards), followed, terminals, *none, 1.0, 1.0)
        assert found.tolist() == [[4.0, 3.0, 5.0]]
