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

from trajtune.agents import SavedAgent
from trajtune.agents.saving import digest
from trajtune.algorithms import ALGORITHMS, Algorithm, Shape, make_algorithm
from trajtune.algorithms.owned import TwinCritics
from trajtune.data import Dataset, Trajectories
from trajtune.policy import Policy
from trajtune.training import FewShot, TrainConfig, few_shot, finetune
from trajtune.training.loop import train
from trajtune.training.precision import autocast
from trajtune.tunings import TUNINGS, make_policy
from trajtune.tunings.saving import load_delta
from trajtune.types import Batch

CELLS = pytest.mark.parametrize(
    ("algorithm", "tuning"), [(a, t) for a in ALGORITHMS for t in TUNINGS], ids=lambda name: str(name)
)
EACH_TUNING = pytest.mark.parametrize("tuning", TUNINGS)
CONFIG = TrainConfig(steps=9, batch=8, warmup=2, checkpoint_every=4, log_every=1, precision="fp32", seed=3)


@pytest.fixture(scope="module")
def few(point_few: FewShot) -> FewShot:
    """Trajectories of different lengths, some shorter than a window, some ended by their environment."""
    t = point_few.trajectories
    length = np.array([30, 4, 17, 5, 30])
    ended = np.array([True, True, False, False, True])
    return replace(point_few, trajectories=replace(t, length=length, terminated=ended).loaded())


@pytest.fixture(scope="module")
def other_task(point_data: Dataset) -> FewShot:
    return few_shot(point_data, 9, "medium", 5, seed=1, prompt_length=3)


def cell(base: SavedAgent, few: FewShot, algorithm: str, tuning: str, seed: int = 3) -> tuple[Policy, Algorithm, Batch]:
    policy = make_policy(tuning, base.agent, few.prompts.prompts[:1], seed=seed)
    algo = make_algorithm(algorithm)
    algo.setup(policy, few.trajectories, seed)
    return policy, algo, draw(base, few.trajectories, algo)


def draw(base: SavedAgent, data: Trajectories, algo: Algorithm, seed: int = 0) -> Batch:
    size = base.agent.config
    return algo.draw(data, np.random.default_rng(seed), Shape(16, size.window, size.prompt))


def three_steps(base: SavedAgent, few: FewShot, policy: Policy, algo: Algorithm) -> None:
    train(policy, algo, lambda rng: draw(base, few.trajectories, algo, int(rng.integers(99))), replace(CONFIG, steps=3))


def modules_of(owner: object) -> dict[str, nn.Module]:
    """The networks an algorithm owns, also through what it wraps."""
    found: dict[str, nn.Module] = {}
    for name, value in vars(owner).items():
        if isinstance(value, nn.Module):
            found[name] = value
        elif isinstance(value, Algorithm | TwinCritics):
            found.update({f"{name}.{n}": m for n, m in modules_of(value).items()})
    return found


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
        mask = getattr(value, "mask", mask)
        names = [f.name for f in dataclasses.fields(value)]
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
    metrics = algo.update_critic(policy, batch, means(policy, batch))
    assert [name for name, p in policy.named_parameters() if p.grad is not None] == []  # critics do not train policies
    for network in modules_of(algo).values():
        network.zero_grad(set_to_none=True)
    loss, more = algo.loss(policy, batch, policy(batch))
    loss.backward()
    assert loss.shape == () and torch.isfinite(loss)
    for name, value in {**metrics, **more}.items():
        assert torch.isfinite(value), name
        assert not value.requires_grad, name
    trainable = {id(p) for p in policy.trainable().values()}
    assert trainable == {id(p) for p in policy.parameters() if p.requires_grad}
    reached = {n for n, p in policy.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached and reached <= policy.trainable().keys()
    assert [p for p in point_agent.agent.parameters() if p.grad is not None] == []
    for name, network in modules_of(algo).items():
        assert [n for n, p in network.named_parameters() if p.grad is not None] == [], f"the loss reaches {name}"


@CELLS
def test_training_moves_only_its_own(point_agent: SavedAgent, few: FewShot, algorithm: str, tuning: str) -> None:
    policy, algo, batch = cell(point_agent, few, algorithm, tuning)
    trainable, base = set(policy.trainable()), bits(point_agent.agent)
    before, reference = bits(policy), policy.reference(batch).mean
    critics = {name: bits(network) for name, network in modules_of(algo).items()}
    three_steps(point_agent, few, policy, algo)
    assert same_bits(bits(point_agent.agent), base)
    assert digest(point_agent.agent) == point_agent.digest
    changed = moved(before, bits(policy))
    assert changed and changed <= trainable
    assert torch.equal(policy.reference(batch).mean, reference)
    optimised = {id(p) for o in algo.optimizers().values() for group in o.param_groups for p in group["params"]}
    for name, network in modules_of(algo).items():
        owned = any(id(p) in optimised for p in network.parameters())
        if owned:
            assert moved(critics[name], bits(network)) == set(critics[name]), f"{name} does not learn"
        else:  # targets follow, but receive no gradient
            assert [p for p in network.parameters() if p.requires_grad or p.grad is not None] == []


@EACH_TUNING
def test_policy_starts_as_its_reference(point_agent: SavedAgent, few: FewShot, tuning: str) -> None:
    policy, _, batch = cell(point_agent, few, "sft", tuning)
    with torch.no_grad():
        new, old = policy.dist(batch), policy.reference(batch)
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
        ("qp-dpo", {"dpo": math.log(2), "margin": 0.0}),
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
            mean = policy(batch)
            algo.update_critic(policy, batch, mean.detach())
            loss, _ = algo.loss(policy, batch, mean)
        assert loss.dtype == torch.float32
        loss.backward()
        reached.append({n for n, p in policy.trainable().items() if p.grad is not None and p.grad.any()})
    assert reached[1] and reached[1] == reached[0]


@EACH_TUNING
def test_policy_leaves_its_reference_and_plain_follows(point_agent: SavedAgent, few: FewShot, tuning: str) -> None:
    policy, algo, batch = cell(point_agent, few, "sft", tuning)
    early = policy.plain()
    state = bits(early.agent)
    three_steps(point_agent, few, policy, algo)
    assert (means(policy, batch) - policy.reference(batch).mean).abs().max() > 1e-4
    assert same_bits(bits(early.agent), state)  # a copy: later training does not change it
    snapshot = policy.snapshot()
    with torch.no_grad():
        torch.testing.assert_close(policy.mean_with(snapshot, batch), means(policy, batch), rtol=0, atol=0)
        zeros = {name: torch.zeros_like(value) for name, value in snapshot.items()}
        assert not torch.equal(policy.mean_with(zeros, batch), means(policy, batch))


@CELLS
def test_saved_and_loaded_acts_the_same(
    point_agent: SavedAgent, few: FewShot, algorithm: str, tuning: str, tmp_path: Path
) -> None:
    done = finetune(point_agent, few, algorithm, tuning, replace(CONFIG, steps=3), folder=tmp_path)
    loaded = load_delta(tmp_path, point_agent)
    batch = draw(point_agent, few.trajectories, make_algorithm("sft"))
    assert torch.equal(means(loaded.policy, batch), means(done.policy, batch))
    assert not torch.equal(means(loaded.policy, batch), done.policy.reference(batch).mean)
    assert torch.equal(loaded.policy.reference(batch).mean, done.policy.reference(batch).mean)
    assert loaded.prompts.keys() == {few.task}
    assert {"algorithm": algorithm, "tuning": tuning, "task": few.task}.items() <= loaded.metadata.items()
    again = finetune(point_agent, few, algorithm, tuning, replace(CONFIG, steps=3), folder=tmp_path)  # already done
    assert same_bits(again.policy.delta(), done.policy.delta())
    assert again.log == done.log


@CELLS
def test_interrupted_and_resumed_equals_uninterrupted(
    point_agent: SavedAgent, few: FewShot, algorithm: str, tuning: str, tmp_path: Path
) -> None:
    steps: list[int] = []

    def stop(step: int, policy: Policy, metrics: dict[str, float]) -> None:
        steps.append(step)
        if step in (6, 7):  # a checkpoint is kept every four steps
            raise KeyboardInterrupt

    whole = finetune(point_agent, few, algorithm, tuning, CONFIG)
    for expected in ([1, 2, 3, 4, 5, 6], [5, 6]):
        steps.clear()
        with pytest.raises(KeyboardInterrupt):
            finetune(point_agent, few, algorithm, tuning, CONFIG, folder=tmp_path, on_step=stop)
        assert steps == expected
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]
    resumed = finetune(point_agent, few, algorithm, tuning, CONFIG, folder=tmp_path)
    assert same_bits(resumed.policy.delta(), whole.policy.delta())
    assert resumed.log == whole.log
    assert [row["step"] for row in whole.log] == list(range(1, 10))
    assert not (tmp_path / "checkpoint.safetensors").exists()


@CELLS
def test_nothing_leaks_from_one_task_to_the_next(
    point_agent: SavedAgent, few: FewShot, other_task: FewShot, algorithm: str, tuning: str
) -> None:
    config = replace(CONFIG, steps=3)
    fresh = finetune(point_agent, other_task, algorithm, tuning, config)
    first = finetune(point_agent, few, algorithm, tuning, config)
    second = finetune(point_agent, other_task, algorithm, tuning, config)
    assert same_bits(second.policy.delta(), fresh.policy.delta())
    assert second.log == fresh.log
    assert not same_bits(first.policy.delta(), second.policy.delta())
    assert digest(point_agent.agent) == point_agent.digest


@CELLS
def test_padding_never_changes_a_loss(point_agent: SavedAgent, few: FewShot, algorithm: str, tuning: str) -> None:
    found = []
    for garbage in (None, 1e6, -3e4):
        policy, algo, batch = cell(point_agent, few, algorithm, tuning)
        assert not batch.window.mask.all()
        if garbage is not None:
            batch = with_garbage(batch, batch.window.mask, garbage)
            assert float(batch.window.actions.abs().max()) == abs(garbage)
        metrics = algo.update_critic(policy, batch, means(policy, batch))
        loss, more = algo.loss(policy, batch, policy(batch))
        loss.backward()
        gradients = {n: p.grad for n, p in policy.trainable().items() if p.grad is not None}
        found.append(({"loss": loss.detach(), **metrics, **more}, gradients))
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
