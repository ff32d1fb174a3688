"""Critics that learn from single steps: the rows drawn, the SARSA target by a naive loop, and every step taken."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers import quick, small_policy, some_trajectories, tuned
from trajtune.agents.saving import SavedAgent
from trajtune.algorithms import ALGORITHMS, CRITIC
from trajtune.algorithms.base import Shape, make_algorithm
from trajtune.algorithms.configs import CriticConfig
from trajtune.algorithms.owned import OwnedCritic
from trajtune.data.fewshot import FewShot
from trajtune.training.config import TrainConfig
from trajtune.training.loop import _update, make_learners

LEARNING = [name for name, entry in ALGORITHMS.items() if CRITIC in entry.configs and name != "awr"]
CONFIG = TrainConfig(steps=4, batch=4, learning_rate=1e-3, checkpoint_every=2, log_every=1, precision="fp32")
FLAT = CriticConfig(monte_carlo=2, bootstrapped=2, flat_updates=3, warm_batch=5, gamma=0.9)


def options(algorithm: str) -> dict[str, Any]:
    return {**quick(algorithm, trust=False), "critic.flat_updates": 3, "critic.warm_batch": 5}


def test_the_target_is_what_the_data_did_next() -> None:
    """Of four trajectories two ended, one was cut off in a known state: but its next action is not known."""
    policy, data = small_policy(), some_trajectories((5, 3, 4, 2), (True, False, False, True))
    owned = OwnedCritic(policy, data, 0, FLAT, "q")
    rows, first = torch.arange(len(data.rewards)), torch.from_numpy(data.start)
    last = first + torch.from_numpy(data.length) - 1
    states = policy.normalise(torch.from_numpy(data.observations))
    actions = torch.from_numpy(data.actions)
    errors = []
    for i in range(len(data)):
        for t in range(int(first[i]), int(last[i]) + 1):
            target = float(data.rewards[t])
            if t < last[i]:
                target += 0.9 * float(owned.average(states[[t + 1]], actions[[t + 1]]).min())
            elif not data.terminated[i]:
                continue
            said = owned.critic(states[[t]], actions[[t]])[:, 0].tolist()
            errors.append(sum(((value - target) / float(owned.critic.scale)) ** 2 for value in said))
    assert owned.flat_error(rows).item() == pytest.approx(np.mean(errors), rel=1e-4)


@pytest.mark.parametrize("algorithm", LEARNING)
def test_as_many_steps_as_asked_for(point_agent: SavedAgent, point_few: FewShot, algorithm: str) -> None:
    """AdamW counts them. Rows are of the data, and drawn anew for each."""
    made = make_algorithm(algorithm, options(algorithm))
    policy = small_policy()
    data = some_trajectories((9, 7, 8), (False, True, False))
    made.setup(policy, data, 0)
    batch = made.draw(data, np.random.default_rng(0), Shape(4, 5, 3, 20))
    assert batch.rows.shape == (3, 5) and 0 <= int(batch.rows.min()) <= int(batch.rows.max()) < 24
    learners = make_learners(policy, made, CONFIG)
    metrics = _update(policy, made, batch, learners, CONFIG, 0, torch.float32, None)
    assert all(bool(value.isfinite()) for value in metrics.values())
    for name, learner in learners.items():
        taken = {int(state["step"]) for state in learner.optimizer.state.values()}
        assert taken == {1 if name == "policy" else 3}, name


@pytest.mark.parametrize("algorithm", LEARNING)
def test_interrupted_and_resumed_equals_uninterrupted(
    point_agent: SavedAgent, point_few: FewShot, algorithm: str, tmp_path: Path
) -> None:
    def run(**more: Any) -> Any:
        return tuned(point_agent, point_few, algorithm, "full", CONFIG, options=options(algorithm), **more)

    def stop(step: int, policy: Any) -> None:
        if step == 3:
            raise KeyboardInterrupt

    whole = run()
    with pytest.raises(KeyboardInterrupt):
        run(folder=tmp_path, watch=stop)
    resumed = run(folder=tmp_path)
    assert resumed.log == whole.log
    assert all(torch.equal(tensor, whole.policy.delta()[name]) for name, tensor in resumed.policy.delta().items())


def test_the_averages_follow_as_far_as_several_steps_would() -> None:
    policy, data = small_policy(), some_trajectories((5, 3), (True, False))
    owned = OwnedCritic(policy, data, 0, replace(FLAT, tau=0.5), "q")
    before = {name: tensor.clone() for name, tensor in owned.averages.values().items()}
    with torch.no_grad():
        for parameter in owned.critic.parameters():
            parameter.add_(1.0)
    owned.follow()
    for name, tensor in owned.averages.values().items():
        torch.testing.assert_close(tensor, before[name] + 1.0 - 0.5**3)


@pytest.mark.parametrize("algorithm", LEARNING)
def test_without_a_rate_the_critic_stays_as_the_warm_up_left_it(
    point_agent: SavedAgent, point_few: FewShot, algorithm: str
) -> None:
    made = make_algorithm(algorithm, {**quick(algorithm, trust=False), "critic.learning_rate": 0.0})
    policy, data = small_policy(), some_trajectories((9, 7, 8), (False, True, False))
    made.setup(policy, data, 0)
    before = {name: tensor.clone() for name, tensor in made.networks()["critic"].state_dict().items()}
    learners = make_learners(policy, made, CONFIG)
    batch = made.draw(data, np.random.default_rng(0), Shape(4, 5, 3, 20))
    _update(policy, made, batch, learners, CONFIG, 0, torch.float32, None)
    assert set(learners) == {"policy"}
    assert all(torch.equal(t, before[name]) for name, t in made.networks()["critic"].state_dict().items())
