"""What holds for every algorithm with every tuning. Cells are taken from the registries, so new ones are covered."""

import dataclasses
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.helpers import few_batch, quick
from tests.helpers import tuned as tuned_fully
from trajtune.agents.saving import SavedAgent, identity
from trajtune.algorithms import ALGORITHMS
from trajtune.algorithms.base import Algorithm, Shape, make_algorithm
from trajtune.compute.precision import autocast
from trajtune.data.fewshot import FewShot, few_shot
from trajtune.data.setting import Setting
from trajtune.data.store import Dataset
from trajtune.data.trajectories import Trajectories
from trajtune.policy import Policy
from trajtune.training.config import TrainConfig
from trajtune.training.deltas import load_delta
from trajtune.training.finetune import Finetuned
from trajtune.training.loop import make_learners, train
from trajtune.tunings import TUNINGS
from trajtune.tunings.making import make_policy
from trajtune.types import Batch

CELLS = pytest.mark.parametrize(
    ("algorithm", "tuning"), [(a, t) for a in ALGORITHMS for t in TUNINGS], ids=lambda name: str(name)
)
EACH_TUNING = pytest.mark.parametrize("tuning", TUNINGS)
CONFIG = TrainConfig(
    steps=9, batch=8, learning_rate=1e-3, warmup=2, checkpoint_every=4, log_every=1, precision="fp32", seed=3
)


@pytest.fixture(scope="module")
def few(point_few: FewShot) -> FewShot:
    """Trajectories of different lengths, some shorter than a window, some ended by their environment.

    Of those that a time limit cut off, the state that followed is known.
    """
    t = point_few.trajectories
    length = np.array([30, 4, 17, 5, 30])
    ended = np.array([True, True, False, False, True])
    after = np.stack([t.observations[s + min(n, 29)] for s, n in zip(t.start, length, strict=True)])
    cut = replace(t, length=length, terminated=ended, final_observations=after).loaded()
    return replace(point_few, trajectories=cut)


@pytest.fixture(scope="module")
def other_task(point_data: Dataset) -> FewShot:
    return few_shot(point_data, 9, Setting("medium", 5), seed=1, prompt_length=3)


Cell = tuple[Policy, Algorithm[Any], Any]


def tuned(base: SavedAgent, few: FewShot, algorithm: str, tuning: str, config: TrainConfig, **more: Any) -> Finetuned:
    """Finetune after the shortest of warm-ups."""
    return tuned_fully(base, few, algorithm, tuning, config, options=quick(algorithm, trust=False), **more)


def cell(base: SavedAgent, few: FewShot, algorithm: str, tuning: str, seed: int = 3) -> Cell:
    policy = make_policy(tuning, base.agent, few.brief.prompts[:1], std=0.2, seed=seed)
    algo = make_algorithm(algorithm, quick(algorithm, trust=False))
    algo.setup(policy, few.trajectories, seed)
    return policy, algo, draw(base, few.trajectories, algo)


def draw(base: SavedAgent, data: Trajectories, algo: Algorithm[Any], seed: int = 0) -> Any:
    spec = base.agent.spec
    shape = Shape(16, spec.window, spec.prompt, spec.max_timesteps)
    return algo.draw(data, np.random.default_rng(seed), shape)


def three_steps(base: SavedAgent, few: FewShot, policy: Policy, algo: Algorithm[Any]) -> None:
    train(policy, algo, lambda rng: draw(base, few.trajectories, algo, int(rng.integers(99))), replace(CONFIG, steps=3))


def bits(module: nn.Module) -> dict[str, Tensor]:
    return {n: t.detach().clone() for n, t in [*module.named_parameters(), *module.named_buffers()]}


def same_bits(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def means(policy: Policy, batch: Batch) -> Tensor:
    with torch.no_grad():
        return policy(batch)


def with_garbage(value: Any, mask: Tensor, garbage: float) -> Any:
    """Overwrite every padded number in whatever an algorithm drew: fields of shape [B, K, ...] beside a mask."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value)]
        mask = getattr(value, "present", mask)  # the state behind the last step is no padding
        prompt = {"prompt"}  # never padded
        return replace(value, **{n: with_garbage(getattr(value, n), mask, garbage) for n in names if n not in prompt})
    if torch.is_tensor(value) and value.is_floating_point() and value.shape[: mask.dim()] == mask.shape:
        return torch.where(mask.reshape(*mask.shape, *[1] * (value.dim() - mask.dim())), value, garbage)
    return value


@CELLS
def test_loss_is_finite_and_reaches_only_its_own(
    point_agent: SavedAgent, few: FewShot, algorithm: str, tuning: str
) -> None:
    policy, algo, batch = cell(point_agent, few, algorithm, tuning)
    learners = make_learners(policy, algo, CONFIG)
    owned, metrics = algo.owned_loss(policy, batch, means(policy, batch))
    assert owned.keys() == algo.descents().keys() <= algo.networks().keys()
    for name, loss in owned.items():
        learners[name].backward(loss)
        assert all(p.grad is not None for p in learners[name].parameters), f"{name} is not reached"
    assert [name for name, p in policy.named_parameters() if p.grad is not None] == []  # critics do not train policies
    for network in algo.networks().values():
        network.zero_grad(set_to_none=True)
    loss, more = algo.loss(policy, batch, policy(batch))
    learners["policy"].backward(loss)
    assert loss.shape == () and torch.isfinite(loss)
    for name, value in {**metrics, **more}.items():
        assert torch.isfinite(value), name
        assert not value.requires_grad, name
    trainable = {id(p) for p in policy.trainable().values()}
    assert trainable == {id(p) for p in policy.parameters() if p.requires_grad}
    reached = {n for n, p in policy.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached and reached <= policy.trainable().keys()
    assert [p for p in point_agent.agent.parameters() if p.grad is not None] == []
    for name, network in algo.networks().items():
        assert [n for n, p in network.named_parameters() if p.grad is not None] == [], f"the loss reaches {name}"


@CELLS
def test_training_moves_only_its_own(point_agent: SavedAgent, few: FewShot, algorithm: str, tuning: str) -> None:
    policy, algo, batch = cell(point_agent, few, algorithm, tuning)
    trainable, base = set(policy.trainable()), bits(point_agent.agent)
    before, reference = bits(policy), policy.reference(batch).mean
    networks = {name: bits(network) for name, network in algo.networks().items()}
    three_steps(point_agent, few, policy, algo)
    assert same_bits(bits(point_agent.agent), base)
    assert identity(point_agent.agent) == point_agent.digest
    changed = moved(before, bits(policy))
    assert changed and changed <= trainable
    assert torch.equal(policy.reference(batch).mean, reference)
    for name, network in algo.networks().items():
        if name in algo.descents():
            learned = {n for n, _ in network.named_parameters()}  # and not the unit in which it speaks
            assert moved(networks[name], bits(network)) == learned, f"{name} does not learn"
        else:  # targets and snapshots follow, and are nobody's parameters
            assert list(network.parameters()) == []


@CELLS
def test_state_is_all_in_networks(point_agent: SavedAgent, few: FewShot, algorithm: str, tuning: str) -> None:
    """What is not there is neither checkpointed nor stacked: tensors and modules as plain attributes are a fault."""
    _, algo, _ = cell(point_agent, few, algorithm, tuning)
    known = {id(network) for network in algo.networks().values()}

    def search(owner: object) -> None:
        for name, value in vars(owner).items():
            assert not isinstance(value, Tensor), f"{name} is a tensor"
            if isinstance(value, nn.Module):
                assert id(value) in known, f"{name} is not among the networks"
            elif hasattr(value, "__dict__") and not dataclasses.is_dataclass(value):
                search(value)

    search(algo)


@EACH_TUNING
def test_policy_starts_as_its_reference(point_agent: SavedAgent, few: FewShot, tuning: str) -> None:
    policy, _, batch = cell(point_agent, few, "sft", tuning)
    with torch.no_grad():
        new, old = policy.normal(policy(batch)), policy.reference(batch)
    valid = batch.window.mask
    torch.testing.assert_close(new.mean, old.mean, rtol=0, atol=1e-6)
    log_ratio = (new.log_prob(batch.window.actions) - old.log_prob(batch.window.actions)).sum(-1)[valid]
    torch.testing.assert_close(log_ratio.exp(), torch.ones_like(log_ratio), rtol=0, atol=1e-4)
    kl = torch.distributions.kl_divergence(new, old)[valid]
    torch.testing.assert_close(kl, torch.zeros_like(kl), rtol=0, atol=1e-6)
    assert float(new.stddev.min()) == float(new.stddev.max()) == pytest.approx(0.2)


@EACH_TUNING
@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("dpo", {"dpo": math.log(2), "margin": 0.0}),
        ("qp-dpo", {"base.dpo": math.log(2), "base.margin": 0.0}),
        ("grpo", {"ratio": 1.0, "kl": 0.0, "clipped": 0.0}),
        ("ppo", {"ratio": 1.0, "clipped": 0.0}),
    ],
)
def test_losses_of_a_policy_that_is_still_its_reference(
    point_agent: SavedAgent, few: FewShot, algorithm: str, tuning: str, expected: dict[str, float]
) -> None:
    policy, algo, batch = cell(point_agent, few, algorithm, tuning)
    _, metrics = algo.loss(policy, batch, policy(batch))
    assert {name: float(metrics[name]) for name in expected} == pytest.approx(expected, rel=1e-5, abs=1e-4)


@CELLS
def test_bfloat16_reaches_what_float32_reaches(
    point_agent: SavedAgent, few: FewShot, algorithm: str, tuning: str
) -> None:
    """Autocast keeps rounded weights for a while; one rounded without gradient must not serve where it is needed."""
    reached = []
    for dtype in (torch.float32, torch.bfloat16):
        policy, algo, batch = cell(point_agent, few, algorithm, tuning)
        with autocast(dtype, torch.device("cpu")):
            batch = policy.prepare(batch)
            mean = policy(batch)
            algo.owned_loss(policy, batch, mean.detach())
        with autocast(dtype, torch.device("cpu")):
            loss, _ = algo.loss(policy, batch, mean)
        assert loss.dtype == torch.float32
        loss.backward(inputs=list(policy.trainable().values()))
        reached.append({n for n, p in policy.trainable().items() if p.grad is not None and p.grad.any()})
    assert reached[1] and reached[1] == reached[0]


@EACH_TUNING
def test_policy_leaves_its_reference(point_agent: SavedAgent, few: FewShot, tuning: str) -> None:
    policy, algo, batch = cell(point_agent, few, "sft", tuning)
    three_steps(point_agent, few, policy, algo)
    assert (means(policy, batch) - policy.reference(batch).mean).abs().max() > 1e-4
    values = {name: parameter.detach().clone() for name, parameter in policy.trainable().items()}
    with torch.no_grad():
        torch.testing.assert_close(policy.mean_with(values, batch), means(policy, batch), rtol=0, atol=0)
        zeros = {name: torch.zeros_like(value) for name, value in values.items()}
        assert not torch.equal(policy.mean_with(zeros, batch), means(policy, batch))


@EACH_TUNING
def test_prepared_batches_give_the_same(point_agent: SavedAgent, few: FewShot, tuning: str) -> None:
    policy, algo, batch = cell(point_agent, few, "sft", tuning)
    three_steps(point_agent, few, policy, algo)
    with torch.no_grad():
        prepared = policy.prepare(batch)
        told = replace(batch, reference=policy.reference_mean(batch))
        assert torch.equal(policy(prepared), policy(batch))
        for known in (prepared, told):
            assert torch.equal(policy.reference(known).mean, policy.reference(batch).mean)


@EACH_TUNING
def test_merged_acts_as_the_policy(point_agent: SavedAgent, few: FewShot, tuning: str) -> None:
    policy, algo, batch = cell(point_agent, few, "sft", tuning)
    three_steps(point_agent, few, policy, algo)
    merged = policy.merged()
    if merged is None:  # it is not the agent's weights that moved
        assert tuning in ("prompt", "decorator")
        return
    with torch.no_grad():
        torch.testing.assert_close(merged(batch), means(policy, batch), rtol=0, atol=1e-5)
        state = bits(merged)
        for parameter in policy.trainable().values():
            parameter.add_(1.0)
    assert same_bits(bits(merged), state)  # a copy
    assert not any(p.requires_grad for p in merged.parameters())
    assert [n for n, _ in merged.named_parameters()] == [n for n, _ in point_agent.agent.named_parameters()]


@CELLS
def test_saved_and_loaded_acts_the_same(
    point_agent: SavedAgent, few: FewShot, algorithm: str, tuning: str, tmp_path: Path
) -> None:
    done = tuned(point_agent, few, algorithm, tuning, replace(CONFIG, steps=3), folder=tmp_path)
    loaded = load_delta(tmp_path, point_agent)
    batch = few_batch(point_agent, few)
    assert torch.equal(means(loaded.policy, batch), means(done.policy, batch))
    assert not torch.equal(means(loaded.policy, batch), done.policy.reference(batch).mean)
    assert torch.equal(loaded.policy.reference(batch).mean, done.policy.reference(batch).mean)
    assert loaded.briefs.keys() == {few.task}
    assert (loaded.recipe.algorithm, loaded.recipe.tuning) == (algorithm, tuning)
    assert loaded.run["data"] == few.identity() and loaded.run["base"] == point_agent.digest
    again = tuned(point_agent, few, algorithm, tuning, replace(CONFIG, steps=3), folder=tmp_path)  # already done
    assert same_bits(again.policy.delta(), done.policy.delta())
    assert again.log == done.log


@CELLS
def test_interrupted_and_resumed_equals_uninterrupted(
    point_agent: SavedAgent, few: FewShot, algorithm: str, tuning: str, tmp_path: Path
) -> None:
    steps: list[int] = []

    def stop(step: int, policy: Policy) -> None:
        steps.append(step)
        if step in (6, 7):  # a checkpoint is kept every four steps
            raise KeyboardInterrupt

    whole = tuned(point_agent, few, algorithm, tuning, CONFIG)
    for expected in ([1, 2, 3, 4, 5, 6], [5, 6]):
        steps.clear()
        with pytest.raises(KeyboardInterrupt):
            tuned(point_agent, few, algorithm, tuning, CONFIG, folder=tmp_path, watch=stop)
        assert steps == expected
        assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.safetensors", "log.jsonl", "unfinished.json"}
    resumed = tuned(point_agent, few, algorithm, tuning, CONFIG, folder=tmp_path)
    assert same_bits(resumed.policy.delta(), whole.policy.delta())
    assert resumed.log == whole.log
    assert [row["step"] for row in whole.log] == list(range(1, 10))
    assert not {"checkpoint.safetensors", "unfinished.json"} & {path.name for path in tmp_path.iterdir()}


@CELLS
def test_nothing_leaks_from_one_task_to_the_next(
    point_agent: SavedAgent, few: FewShot, other_task: FewShot, algorithm: str, tuning: str
) -> None:
    config = replace(CONFIG, steps=3)
    fresh = tuned(point_agent, other_task, algorithm, tuning, config)
    first = tuned(point_agent, few, algorithm, tuning, config)
    second = tuned(point_agent, other_task, algorithm, tuning, config)
    assert same_bits(second.policy.delta(), fresh.policy.delta())
    assert second.log == fresh.log
    assert not same_bits(first.policy.delta(), second.policy.delta())
    assert identity(point_agent.agent) == point_agent.digest


@CELLS
def test_padding_never_changes_a_loss(point_agent: SavedAgent, few: FewShot, algorithm: str, tuning: str) -> None:
    found = []
    for garbage in (None, 1e6, -3e4):
        policy, algo, batch = cell(point_agent, few, algorithm, tuning)
        assert not batch.window.mask.all() and (batch.window.present & ~batch.window.mask).any()
        if garbage is not None:
            batch = with_garbage(batch, batch.window.mask, garbage)
            assert float(batch.window.actions.abs().max()) == abs(garbage)
        owned, metrics = algo.owned_loss(policy, batch, means(policy, batch))
        loss, more = algo.loss(policy, batch, policy(batch))
        loss.backward(inputs=list(policy.trainable().values()))
        gradients = {n: p.grad for n, p in policy.trainable().items() if p.grad is not None}
        found.append(
            ({"loss": loss.detach(), **{n: o.detach() for n, o in owned.items()}, **metrics, **more}, gradients)
        )
    for metrics, gradients in found[1:]:
        torch.testing.assert_close(metrics, found[0][0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(gradients, found[0][1], rtol=1e-4, atol=1e-6)


@EACH_TUNING
def test_a_policy_moves_to_another_device_than_its_agent(point_agent: SavedAgent, few: FewShot, tuning: str) -> None:
    policy, _, batch = cell(point_agent, few, "sft", tuning)
    policy, batch = policy.to("meta"), batch.to("meta")  # a device without memory, which every machine has
    assert policy.normalise(batch.window.observations).device.type == "meta"
    assert policy(batch).device.type == "meta"
    assert {t.device.type for t in point_agent.agent.state_dict().values()} == {"cpu"}
