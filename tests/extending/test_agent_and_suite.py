"""An agent of another package on a suite of another package: collect, pretrain, finetune, save, load, score."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.extending.checks import check_agent, check_suite
from tests.helpers import quick
from trajtune.agents.saving import SavedAgent, initialise
from trajtune.algorithms import ALGORITHMS
from trajtune.data.fewshot import FewShot, few_shot
from trajtune.data.setting import Setting
from trajtune.data.store import Dataset
from trajtune.errors import UserError
from trajtune.experts.collect import collect
from trajtune.experts.config import CollectConfig
from trajtune.rollout.score import evaluate
from trajtune.suites import get_suite
from trajtune.training.config import PretrainConfig, Recipe, TrainConfig
from trajtune.training.deltas import load_delta
from trajtune.training.finetune import finetune
from trajtune.training.pretrain import pretrain

pytestmark = pytest.mark.usefixtures("plugins")
SHORT = TrainConfig(steps=40, batch=16, learning_rate=1e-3, warmup=2, log_every=20, precision="fp32")
SIZES = {"observation_dim": 2, "action_dim": 1, "max_timesteps": 40}


def test_the_suite_keeps_its_contract(tmp_path: Path) -> None:
    suite = get_suite("cart")
    assert suite.name == "cart" and suite.metric == "success"
    assert suite.relabel is None and 2 not in suite.references
    check_suite(suite, tmp_path)


def test_our_point_suite_keeps_it_too(tmp_path: Path) -> None:
    check_suite(get_suite("point"), tmp_path)


@pytest.mark.parametrize(
    ("kind", "sizes"), [("window-mlp", {}), ("prompt-dt", {"width": 32}), ("prompt-dt", {"width": 32, "prompt": 0})]
)
def test_agents_keep_their_contract(kind: str, sizes: dict[str, int], tmp_path: Path) -> None:
    agent = initialise(kind, {**SIZES, **sizes}, seed=0)
    agent.observation_mean.fill_(0.5)
    agent.return_scale.fill_(3.0)
    check_agent(agent, tmp_path)


def test_a_size_that_the_agent_does_not_have_is_one_line() -> None:
    with pytest.raises(UserError, match="prompt"):
        initialise("window-mlp", {**SIZES, "prompt": 5}, seed=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("cart")
    return made


def cart_data(folder: Path) -> Dataset:
    """Twenty trajectories of each place; made once, as the same call finds it finished."""
    return collect(CollectConfig("cart", (0, 1, 2), trajectories=20, experts="scripted"), folder / "data")


def cart_agent(folder: Path) -> SavedAgent:
    config = PretrainConfig(agent="window-mlp", options={"hidden": 32}, training=SHORT)
    return pretrain(cart_data(folder), [0, 1], 40, config, folder / "agent")


def test_the_whole_way(folder: Path, tmp_path: Path) -> None:
    data, base = cart_data(folder), cart_agent(folder)
    assert base.agent.kind == "window-mlp" and base.suite == "cart"
    few = few_shot(data, 2, Setting("expert", 10), seed=0, prompt_length=base.agent.spec.prompt)
    assert few.brief.prompts is None
    before = evaluate(base, "cart", 2, few.brief, episodes=4)
    done = finetune(base, few, Recipe("awr-example", "decorator", training=SHORT), folder=tmp_path)
    after = evaluate(load_delta(tmp_path, base), "cart", 2, episodes=4)
    assert after.returns == evaluate(done, "cart", 2, episodes=4).returns
    assert after.returns != before.returns
    assert after.success is not None and after.normalised is not None


def test_without_references_a_score_has_none(folder: Path) -> None:
    data, base = cart_data(folder), cart_agent(folder)
    few = FewShot.of(data.select([2], "expert").loaded(), "cart", 2, prompt_length=0)
    score = evaluate(base, "cart", 2, few.brief, episodes=2)
    assert score.normalised is None and score.success is not None and len(score.returns) == 2


@pytest.mark.parametrize("tuning", ["adapter", "bias", "decorator", "full"])
def test_tunings_take_an_agent_without_a_prompt(folder: Path, tuning: str, tmp_path: Path) -> None:
    base = cart_agent(folder)
    few = few_shot(cart_data(folder), 2, Setting("expert", 5), seed=0, prompt_length=0)
    done = finetune(base, few, Recipe("sft", tuning, training=SHORT), folder=tmp_path)
    assert any(tensor.any() for tensor in done.policy.delta().values())
    merged = done.policy.merged()
    if merged is not None:
        actor, other = merged.actor(None), done.policy.actor(None)
        state, target = torch.zeros(2, 2), torch.zeros(2)
        torch.testing.assert_close(actor.act(0, target, state, None), other.act(0, target, state, None))


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "awr-example"])
def test_algorithms_take_an_agent_without_a_prompt(folder: Path, algorithm: str) -> None:
    few = few_shot(cart_data(folder), 2, Setting("medium", 5), seed=0, prompt_length=0)
    recipe = Recipe(algorithm, "adapter", quick(algorithm), training=replace(SHORT, steps=3))
    done = finetune(cart_agent(folder), few, recipe)
    assert any(tensor.any() for tensor in done.policy.delta().values())


def test_prompt_tuning_is_refused_in_a_line(folder: Path) -> None:
    few = few_shot(cart_data(folder), 2, Setting("expert", 5), seed=0, prompt_length=0)
    with pytest.raises(UserError, match="tuning prompt needs a prompt, which this window-mlp agent has not"):
        finetune(cart_agent(folder), few, Recipe("sft", "prompt", training=SHORT))
