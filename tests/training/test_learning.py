"""A pretrained agent that is poor at held-out goals gets better at them, whatever the algorithm.

The few-shot set is half expert, half medium trajectories: something to imitate, and something to prefer.
The gains asked for are well below those measured (docs/algorithms).
"""

from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.helpers import tuned
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
    "ppo": Learning("full", 1e-3, 0.1, {"critic_learning_rate": 3e-3}),
    "cql": Learning(
        "adapter",
        3e-4,
        0.1,
        {"alpha": 0.1, "anchor_data": True, "critic_learning_rate": 3e-3, "tau": 0.05, "gamma": 0.9},
    ),
    "qp-sft": Learning("full", 1e-3, 0.3),
    "qp-dpo": Learning("full", 1e-3, 0.3),
}
"""Those of GRPO, PPO and CQL were searched on these goals (8 to 16 settings each): this says that they can learn,
not how well. With its defaults and a learning rate of 1e-3, CQL makes this agent worse (docs/algorithms/cql.md)."""


def measured(base: SavedAgent, data: Dataset, algorithm: str) -> tuple[float, float]:
    """Mean normalised return over the cells, before and after finetuning."""
    recipe, suite, found = RECIPES[algorithm], get_suite("point"), []
    for task, seed in CELLS:
        few = few_shot(data, task, Setting(None, 20), seed, prompt_length=3)
        config = TrainConfig(
            steps=STEPS, batch=32, learning_rate=recipe.learning_rate, precision="fp32", seed=seed, log_every=STEPS
        )
        done = tuned(base, few, algorithm, recipe.tuning, config, options=recipe.options, std=recipe.std)
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
