"""Many runs as one program: four members of every cell, stacked with ``torch.func``, against four separate runs.

Possible because a policy and everything an algorithm owns are functions of stacked tensors, and because the trainer
alone takes optimiser steps. Here the optimiser is written out; ``training/loop.py`` is what it is compared with.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.helpers import quick
from trajtune.agents.saving import SavedAgent
from trajtune.algorithms import ALGORITHMS
from trajtune.algorithms.base import Algorithm, Descent, Shape, make_algorithm
from trajtune.data.fewshot import FewShot, few_shot
from trajtune.data.setting import Setting
from trajtune.data.store import Dataset
from trajtune.policy import Policy
from trajtune.seeds import stream
from trajtune.training.config import TrainConfig
from trajtune.training.loop import POLICY, train
from trajtune.tunings import TUNINGS
from trajtune.tunings.making import make_policy

STEPS = 4
CONFIG = TrainConfig(steps=STEPS, batch=6, learning_rate=1e-3, warmup=3, log_every=1, precision="fp32")
Tensors = dict[str, Tensor]


class Cell(nn.Module):
    """A policy and all that its algorithm owns, as one module: what is stacked."""

    def __init__(self, policy: Policy, algorithm: Algorithm[Any]) -> None:
        super().__init__()
        self.policy = policy
        for name, network in algorithm.networks().items():
            self.add_module(module_name(name), network)

    def forward(self, ask: Callable[[], Any]) -> Any:
        return ask()


def module_name(network: str) -> str:
    return "network_" + network.replace(".", "_")


@pytest.fixture(scope="module")
def few(point_data: Dataset) -> list[FewShot]:
    """Another task, other trajectories and another seed for every member; some cut off, some ended."""
    found = []
    for member, task in enumerate((2, 5, 9, 14)):
        each = few_shot(point_data, task, Setting("medium", 4), seed=member, prompt_length=3)
        ended = np.array([member % 2 == 0, True, False, False])
        found.append(replace(each, trajectories=replace(each.trajectories, terminated=ended)))
    return found


def build(base: SavedAgent, few: FewShot, algorithm: str, tuning: str, seed: int) -> tuple[Policy, Algorithm[Any]]:
    policy = make_policy(tuning, base.agent, few.brief.prompts[:1], std=0.2, seed=seed)
    snapshots = "old_policy_every"  # of PPO and GRPO: two within these steps
    has = hasattr(ALGORITHMS[algorithm].configs[""](), snapshots)
    algo = make_algorithm(algorithm, {**quick(algorithm, trust=False), **({snapshots: 2} if has else {})})
    algo.setup(policy, few.trajectories, seed)
    return policy, algo


def batch_of(base: SavedAgent, few: FewShot, algorithm: Algorithm[Any], seed: int, step: int) -> Any:
    spec = base.agent.spec
    shape = Shape(CONFIG.batch, spec.window, spec.prompt, spec.max_timesteps)
    return algorithm.draw(few.trajectories, stream(seed, "batch", step, 0), shape)


class AdamW:
    """AdamW over stacked tensors, written out, each member's gradient clipped by its own norm."""

    def __init__(self, descent: Descent, weight_decay: float) -> None:
        self.descent, self.weight_decay, self.count = descent, weight_decay, 0
        self.first: Tensors = {}
        self.second: Tensors = {}

    @torch.no_grad()
    def step(self, values: Tensors, gradients: Tensors, rate: float) -> None:
        self.count += 1
        norm = torch.stack([g.flatten(1).square().sum(1) for g in gradients.values()]).sum(0).sqrt()
        scale = (self.descent.grad_clip / (norm + 1e-6)).clamp(max=1.0)
        for name, gradient in gradients.items():
            gradient = gradient * scale.view(-1, *[1] * (gradient.dim() - 1))
            first, second = self.first.get(name, 0.0), self.second.get(name, 0.0)
            self.first[name] = first = 0.9 * first + 0.1 * gradient
            self.second[name] = second = 0.999 * second + 0.001 * gradient.square()
            values[name].mul_(1 - rate * self.weight_decay)
            root = (second / (1 - 0.999**self.count)).sqrt() + 1e-8
            values[name].sub_(rate * (first / (1 - 0.9**self.count)) / root)


def train_fleet(base: SavedAgent, few: list[FewShot], algorithm: str, tuning: str) -> tuple[list[str], Tensors]:
    """Train all members as one; return the names of what the policy moved, and everything there is, stacked."""
    members = [build(base, each, algorithm, tuning, seed) for seed, each in enumerate(few)]
    cells = [Cell(*member) for member in members]
    policy, algo = members[0]  # its tensors are never used: every call brings its own
    cell = cells[0]
    values = {n: torch.stack([dict(tensors(c))[n] for c in cells]) for n, _ in tensors(cell)}
    moving = {POLICY: [f"policy.{name}" for name in policy.trainable()]}
    for name in algo.descents():
        moving[name] = [n for n, _ in cell.named_parameters() if n.startswith(module_name(name) + ".")]
    optimisers = {name: AdamW(descent, 0.01) for name, descent in algo.descents().items()}
    optimisers[POLICY] = AdamW(Descent(CONFIG.learning_rate or 0.0, CONFIG.grad_clip), CONFIG.weight_decay)

    def run(mine: Tensors, ask: Callable[[], Any]) -> Any:
        return torch.func.functional_call(cell, mine, (ask,))

    for step in range(STEPS):
        drawn = [
            batch_of(base, each, member[1], seed, step)
            for seed, (each, member) in enumerate(zip(few, members, strict=True))
        ]
        flat = {name: torch.stack([each.flat()[name] for each in drawn]) for name in drawn[0].flat()}

        def loss_of(own: Tensors, rest: Tensors, batch: Tensors, name: str, drawn: Any = drawn[0]) -> Tensor:
            def ask() -> Tensor:
                whole = policy.prepare(drawn.with_flat(batch))
                mean = policy(whole)
                if name == POLICY:
                    return algo.loss(policy, whole, mean)[0]
                return algo.owned_loss(policy, whole, mean.detach())[0][name]

            return run({**rest, **own}, ask)

        for name in [*algo.descents(), POLICY]:
            own = {n: values[n] for n in moving[name]}
            rest = {n: t for n, t in values.items() if n not in own}
            slope = torch.func.grad(lambda own, rest, batch, name=name: loss_of(own, rest, batch, name))
            gradients = torch.func.vmap(slope)(own, rest, flat)
            rate = optimisers[name].descent.learning_rate
            if name == POLICY:
                rate *= algo.rate() * min(1.0, (step + 1) / CONFIG.warmup)
            optimisers[name].step(values, gradients, rate)

        def follow(mine: Tensors, step: int = step) -> Tensors:
            def ask() -> Tensors:
                algo.after_step(policy, step)
                return dict(cell.named_buffers())

            return run(mine, ask)

        values.update(torch.func.vmap(follow)(values))
    return moving[POLICY], values


def tensors(cell: Cell) -> list[tuple[str, Tensor]]:
    return [(n, t.detach()) for n, t in [*cell.named_parameters(), *cell.named_buffers()]]


@pytest.mark.parametrize(("algorithm", "tuning"), [(a, t) for a in ALGORITHMS for t in TUNINGS], ids=str)
def test_members_trained_as_one_equal_separate_runs(
    point_agent: SavedAgent, few: list[FewShot], algorithm: str, tuning: str
) -> None:
    names, values = train_fleet(point_agent, few, algorithm, tuning)
    for seed, each in enumerate(few):
        policy, algo = build(point_agent, each, algorithm, tuning, seed)
        start = {n: p.detach().clone() for n, p in policy.trainable().items()}
        counter = iter(range(STEPS))
        train(
            policy,
            algo,
            lambda rng, each=each, algo=algo, seed=seed, counter=counter: batch_of(
                point_agent, each, algo, seed, next(counter)
            ),
            replace(CONFIG, seed=seed),
        )
        alone = dict(tensors(Cell(policy, algo)))
        for name in names:
            found, expected = values[name][seed], alone[name]
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
        moved = max(float((alone[n] - start[n.removeprefix("policy.")]).abs().max()) for n in names)
        assert moved > 5e-4  # far more than they may differ
        for name in values:
            if "network" in name:
                torch.testing.assert_close(values[name][seed], alone[name], rtol=2e-3, atol=1e-4)
