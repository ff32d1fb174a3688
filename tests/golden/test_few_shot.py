"""What algorithms make of a few-shot set before they start, against naive loops: transitions, folds, pairs, choices."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.helpers import quick, small_policy, some_trajectories
from trajtune.algorithms import trust
from trajtune.algorithms.base import make_algorithm
from trajtune.algorithms.dpo import worse_neighbours
from trajtune.algorithms.owned import members_of, unseen
from trajtune.algorithms.sft import best_of
from trajtune.algorithms.transitions import discounted, folds_of, transitions_of
from trajtune.algorithms.trust import action_noise, squared_error, trust_in_critic, trust_in_data
from trajtune.data.sampling import draw_batch
from trajtune.data.trajectories import Trajectories
from trajtune.seeds import stream

LENGTHS, ENDED = (3, 7, 1, 5), (True, False, False, True)
GAMMA = 0.9


def test_discounted_by_hand() -> None:
    assert discounted(np.array([1.0, 2.0, 4.0]), 0.5).tolist() == [1 + 0.5 * (2 + 0.5 * 4), 2 + 0.5 * 4, 4]


class TestTransitions:
    @pytest.mark.parametrize("known", [True, False])
    def test_are_what_a_loop_finds(self, known: bool) -> None:
        data, policy = some_trajectories(LENGTHS, ENDED, known), small_policy()
        found = transitions_of(policy, data, GAMMA)
        states = policy.normalise(torch.from_numpy(data.observations))
        for i, (start, length, ended) in enumerate(zip(data.start, data.length, data.terminated, strict=True)):
            for t in range(length):
                row, last = start + t, t + 1 == length
                rest = data.rewards[row : start + length].astype(float)
                expected = sum(GAMMA**k * r for k, r in enumerate(rest))
                assert float(found.returns[row]) == pytest.approx(expected, rel=1e-6)
                weight = 1.0 if ended else 1.0 - GAMMA ** (length - t)
                assert float(found.weights[row]) == pytest.approx(weight, rel=1e-6)
                assert int(found.trajectory[row]) == i
                assert float(found.time[row]) == pytest.approx(t / 7)
                assert bool(found.terminal[row]) == (last and ended)
                assert bool(found.action_follows[row]) == (not last)
                assert bool(found.state_follows[row]) == (not last or (known and not ended))
                assert torch.equal(found.states[row], states[row])
                if not last:
                    assert torch.equal(found.next_states[row], states[row + 1])
                    assert torch.equal(found.next_actions[row], torch.from_numpy(data.actions[row + 1]))
                elif known:
                    assert data.final_observations is not None
                    after = policy.normalise(torch.from_numpy(data.final_observations[i]))
                    torch.testing.assert_close(found.next_states[row], after)

    def test_without_discount_every_step_counts_alike(self) -> None:
        found = transitions_of(small_policy(), some_trajectories(LENGTHS, ENDED), 1.0)
        assert found.weights.tolist() == [1.0] * sum(LENGTHS)


class TestFolds:
    @pytest.mark.parametrize(
        ("trajectories", "members", "folds"),
        [(50, 2, 5), (50, 5, 5), (50, 7, 7), (3, 2, 3), (3, 5, 3), (1, 5, 0), (2, 5, 2)],
    )
    def test_by_hand(self, trajectories: int, members: int, folds: int) -> None:
        assert folds_of(trajectories, members) == folds

    @pytest.mark.parametrize(("trajectories", "members"), [(12, 5), (4, 5), (12, 7), (12, 2), (2, 5), (1, 5)])
    def test_every_trajectory_is_judged_by_a_member_that_left_it_out(self, trajectories: int, members: int) -> None:
        """Where there are as many members as folds; with fewer, those of the other folds have none."""
        data = some_trajectories((4,) * trajectories, (False,) * trajectories)
        member, folds = members_of(data, members), folds_of(trajectories, members)
        assert member.shape == (4 * trajectories + 1,) and int(member[-1]) == -1
        for i in range(trajectories):
            mine = set(member[4 * i : 4 * i + 4].tolist())
            left_out = [m for m in range(members) if folds and i % folds == m]  # as the warm-up deals them
            assert mine == set(left_out[:1] or [-1])
            assert mine != {-1} or trajectories == 1 or members < folds

    def test_unseen_by_hand(self) -> None:
        values = torch.tensor([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
        assert unseen(values, torch.tensor([1, 0, -1])).tolist() == [10.0, 2.0, 16.5]


def test_worse_neighbours_are_what_a_loop_finds() -> None:
    data = some_trajectories((6, 4, 5, 3), (False, True, False, True))
    states = torch.randn(18, 3, generator=torch.Generator().manual_seed(1))
    actions, has = worse_neighbours(states, data)
    owner = np.repeat(np.arange(4), data.length)
    for row in range(18):
        worse = [r for r in range(18) if data.returns[owner[r]] < data.returns[owner[row]]]
        assert bool(has[row]) == bool(worse)
        if worse:
            distance = [float((states[row] - states[r]).norm()) for r in worse]
            assert np.array_equal(actions[row], data.actions[worse[int(np.argmin(distance))]])
        else:
            assert not actions[row].any()


def test_equal_returns_leave_no_pair() -> None:
    data = replace(some_trajectories((4, 4), (False, False)), returns_to_go=np.ones(8, np.float32))
    assert not worse_neighbours(torch.randn(8, 3), data)[1].any()


def test_best_of_by_hand() -> None:
    data = some_trajectories((2,) * 5, (False,) * 5)
    to_go = np.zeros(10, np.float32)
    to_go[::2] = [3.0, -1.0, 7.0, 5.0, 1.0]
    data = replace(data, returns_to_go=to_go)
    assert best_of(data, 0.0).start.tolist() == [0, 2, 4, 6, 8]
    assert best_of(data, 0.5).start.tolist() == [0, 4, 6]  # 3, 7 and 5: the middle one counts
    assert best_of(data, 0.9).start.tolist() == [4]
    assert best_of(data, 1.0).start.tolist() == [4]
    assert best_of(replace(data, returns_to_go=np.ones(10, np.float32)), 1.0).start.tolist() == [0, 2, 4, 6, 8]


class TestEqualReturns:
    """GRPO compares; where there is nothing to compare it says so."""

    def notes(self, data: Trajectories) -> list[str]:
        algo = make_algorithm("grpo")
        algo.setup(small_policy(), data, 0)
        steps = algo.networks()["advantages"]["steps"]  # type: ignore[index]
        assert bool(steps.any()) == (not algo.notes())
        return list(algo.notes())

    def test_are_told(self) -> None:
        data = some_trajectories((4, 4, 4), (False,) * 3)
        assert self.notes(data) == []
        same = replace(data, returns_to_go=np.full(12, -163.7, np.float32))
        assert self.notes(same) == [
            "grpo: the returns within each group are equal, so no action has an advantage and nothing will move"
        ]


class TestTrust:
    """Alpha is multiplied by what the data's actions vary in like states."""

    def data(self, noise: float, trajectories: int = 8, seed: int = 0) -> Trajectories:
        rng = np.random.default_rng(seed)
        data = some_trajectories((60,) * trajectories, (False,) * trajectories)
        states = rng.uniform(-1.0, 1.0, (60 * trajectories, 3)).astype(np.float32)
        told = 0.05 * states @ rng.normal(size=(3, 2)) + noise * rng.normal(size=(60 * trajectories, 2))
        return replace(data, observations=states, actions=told.astype(np.float32))

    def test_measures_the_noise_it_was_given(self) -> None:
        assert action_noise(small_policy(), self.data(0.3), 0) == pytest.approx(0.3, rel=0.1)

    def found(self, noise: float, error: float, monkeypatch: pytest.MonkeyPatch) -> tuple[float, str]:
        """Of data with that noise, where the policy errs by so much."""
        monkeypatch.setattr(trust, "squared_error", lambda policy, data, seed: error**2)
        return trust_in_data(small_policy(), self.data(noise), 0)

    def test_noisy_data_that_the_policy_knows_are_trusted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.found(0.3, 0.3, monkeypatch) == (1.0, "")

    def test_steady_data_are_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found, why = self.found(0.0, 0.3, monkeypatch)
        assert found == 0.0 and "do nearly the same" in why

    def test_nor_are_those_that_it_could_imitate_much_better(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Noise of 0.3 in an error of 0.6: a quarter of the squares."""
        found, why = self.found(0.3, 0.6, monkeypatch)
        assert found == 0.0 and "imitation has most to gain" in why

    def test_grows_with_the_noise_and_with_its_share(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = [self.found(noise, 0.05, monkeypatch)[0] for noise in (0.0, 0.04, 0.05, 0.15)]
        assert found == sorted(found) and 0.0 < found[1] < found[2] < 1.0
        shares = [self.found(0.3, error, monkeypatch)[0] for error in (0.6, 0.5, 0.46, 0.4)]
        assert shares == sorted(shares) and 0.0 < shares[1] < shares[2] < 1.0 == shares[3]

    def test_the_error_is_over_what_the_windows_show(self) -> None:
        """Over the steps that are there, worked out here once more."""
        policy, data = small_policy(), some_trajectories((5,) * 6, (True,) * 6)
        zero = replace(data, actions=np.zeros_like(data.actions))
        rng = stream(0, "trust", "windows")
        spec = policy.spec
        batch = draw_batch(zero, rng, trust.WINDOWS, spec.window, spec.prompt, spec.max_timesteps)
        with torch.no_grad():
            mean = policy(batch)
        by_hand = float(mean.square().mean(-1)[batch.window.mask].mean())
        assert squared_error(policy, zero, 0) == pytest.approx(by_hand, rel=1e-5)

    @pytest.mark.parametrize(
        ("error", "worth"), [(0.0, 1.0), (0.5, 1.0), (0.75, 0.5), (1.0, 0.0), (2.2, 0.0), (float("nan"), 0.0)]
    )
    def test_a_critic_is_trusted_by_what_it_explains(self, error: float, worth: float) -> None:
        assert trust_in_critic(error) == worth

    def test_one_trajectory_is_not_trusted(self) -> None:
        assert trust_in_data(small_policy(), self.data(0.3, trajectories=1), 0)[0] == 0.0


def test_no_warm_up_tells_nothing_about_one_trajectory() -> None:
    algo = make_algorithm("qp-sft", quick("qp-sft", trust=False))
    algo.setup(small_policy(), some_trajectories((9,), (False,)), 0)
    facts = algo.facts()
    assert np.isnan(facts["critic_rank"]) and np.isnan(facts["critic_error"])
