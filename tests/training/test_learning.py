"""A pretrained agent that is poor at held-out goals gets better at them, whatever the algorithm.

The few-shot set is half expert, half medium trajectories: something to imitate, and something to prefer.
The gains asked for are well below those measured (docs/algorithms).
"""

from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy import stats

from tests.helpers import quick, tuned
from trajtune.agents.saving import SavedAgent
from trajtune.algorithms import ALGORITHMS
from trajtune.data.fewshot import few_shot
from trajtune.data.setting import Setting
from trajtune.data.store import Dataset
from trajtune.rollout.score import score
from trajtune.suites import get_suite
from trajtune.training.config import TrainConfig

STEPS, EPISODES = 100, 10
CELLS = ((2, 0), (9, 1))
"""Held-out goal and seed."""


class Learning(NamedTuple):
    """How a cell is trained here, and the gain in normalised return that it must at least bring, over the cells."""

    tuning: str
    learning_rate: float
    gain: float
    options: dict[str, Any] = {}  # noqa: RUF012
    std: float = 0.2


RECIPES = {
    "sft": Learning("full", 1e-3, 0.3),
    "dpo": Learning("full", 1e-3, 0.3),
    "grpo": Learning("adapter", 1e-3, 0.1, {"beta": 0.001, "dense": True}, std=0.5),
    "ppo": Learning("full", 1e-3, 0.1, {"critic.learning_rate": 3e-3, "old_policy_every": 10}),
    "cql": Learning(
        "adapter", 3e-4, 0.1, {"alpha": 0.1, "critic.learning_rate": 3e-3, "critic.tau": 0.05, "critic.gamma": 0.9}
    ),
    "iql": Learning("full", 1e-3, 0.3),
    "awr": Learning("full", 1e-3, 0.3),
    "qp-sft": Learning("full", 1e-3, 0.3),
    "qp-dpo": Learning("full", 1e-3, 0.3),
}
"""Those of GRPO, PPO and CQL were searched on these goals (8 to 16 settings each): this says that they can learn,
not how well."""
WARM = 100
"""Updates towards returns, and as many one step ahead: a fraction of the default, for speed."""


def gained(base: SavedAgent, data: Dataset, algorithm: str, setting: Setting, task: int, seed: int) -> float:
    """Normalised return after finetuning in full with default options, but for a shorter warm-up.

    With the default's it says the same and takes three minutes.
    """
    few = few_shot(data, task, setting, seed, prompt_length=3)
    config = TrainConfig(steps=STEPS, batch=32, learning_rate=1e-3, precision="fp32", seed=seed, log_every=STEPS)
    done = tuned(base, few, algorithm, "full", config, options=quick(algorithm, WARM))
    found = score(done.policy, get_suite("point"), {task: few.brief}, EPISODES, seed, "fp32")[0].normalised
    assert found is not None
    return found


def measured(base: SavedAgent, data: Dataset, algorithm: str) -> tuple[float, float]:
    """Mean normalised return over the cells, before and after finetuning."""
    recipe, suite, found = RECIPES[algorithm], get_suite("point"), []
    for task, seed in CELLS:
        few = few_shot(data, task, Setting(None, 20), seed, prompt_length=3)
        config = TrainConfig(
            steps=STEPS, batch=32, learning_rate=recipe.learning_rate, precision="fp32", seed=seed, log_every=STEPS
        )
        options = {**quick(algorithm, WARM), **recipe.options}
        done = tuned(base, few, algorithm, recipe.tuning, config, options=options, std=recipe.std)
        scores = [
            score(subject, suite, {task: few.brief}, EPISODES, seed, "fp32")[0].normalised
            for subject in (base.agent, done.policy)
        ]
        found.append(scores)
    before, after = np.mean(np.array(found, float), axis=0)
    return float(before), float(after)


def test_every_algorithm_is_measured() -> None:
    assert RECIPES.keys() == ALGORITHMS._own.keys()


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", RECIPES)
def test_finetuning_improves_a_poor_agent(point_agent: SavedAgent, point_data: Dataset, algorithm: str) -> None:
    before, after = measured(point_agent, point_data, algorithm)
    print(f"{algorithm}: normalised return {before:.3f} -> {after:.3f}")
    assert before < 0.4  # there is room
    assert after - before > RECIPES[algorithm].gain


def differences(base: SavedAgent, data: Dataset, setting: Setting) -> np.ndarray:
    """What QP-SFT has over SFT on the same few-shot set with the same seed, for ten of both and four held-out goals."""
    goals = get_suite("point").test
    found = [
        gained(base, data, "qp-sft", setting, task, seed) - gained(base, data, "sft", setting, task, seed)
        for seed, task in ((seed, goals[seed % len(goals)]) for seed in range(10))
    ]
    print(setting, np.round(found, 3), f"mean {np.mean(found):.3f}")
    return np.array(found)


@pytest.mark.slow
def test_guidance_beats_imitation_on_poor_data(point_agent: SavedAgent, point_data: Dataset) -> None:
    """The 95% interval of the mean difference, by Student's t over ten seeds, leaves zero out."""
    found = differences(point_agent, point_data, Setting("medium", 10))
    half = float(stats.t.ppf(0.975, len(found) - 1)) * found.std(ddof=1) / len(found) ** 0.5
    assert found.mean() - half > 0.0


@pytest.mark.slow
def test_guidance_does_no_harm_on_five_expert_trajectories(point_agent: SavedAgent, point_data: Dataset) -> None:
    assert differences(point_agent, point_data, Setting("expert", 5)).mean() > -0.02
