"""The loop that finetunes and pretrains. It takes every optimiser step, of policy and critics alike.

Everything random in step n comes from the streams of (seed, n), so a run that was interrupted goes on bit for bit.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trajtune.algorithms.base import Algorithm, Descent, Metrics
from trajtune.compute.precision import autocast, compute_dtype
from trajtune.compute.tensors import load_into, prefixed, under
from trajtune.errors import DivergedError, UserError
from trajtune.policy import Policy
from trajtune.seeds import number, stream
from trajtune.training.checkpoint import load_checkpoint, load_optimizer, optimizer_tensors, save_checkpoint
from trajtune.training.config import TrainConfig
from trajtune.types import Batch

Log = list[dict[str, float]]
POLICY = "policy"


@dataclass(frozen=True)
class Sync:
    """How processes that train together agree: ``average`` gradients in place; ``rank`` 0 writes files."""

    rank: int
    average: Callable[[list[Tensor]], None]


def learning_rate(config: TrainConfig, peak: float, step: int) -> float:
    """Linear warm-up, then constant or a cosine down to a tenth of the peak."""
    rate = peak * min(1.0, (step + 1) / max(1, config.warmup))
    if config.schedule == "cosine":
        progress = min(1.0, step / config.steps)
        rate *= 0.1 + 0.9 * 0.5 * (1.0 + math.cos(math.pi * progress))
    return rate


class Learner:
    """One network that learns: its parameters, their optimiser, and where its gradient is clipped."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], descent: Descent, weight_decay: float) -> None:
        self.parameters = list(parameters.values())
        self.clip = descent.grad_clip
        self.optimizer = torch.optim.AdamW(
            self.parameters, descent.learning_rate, weight_decay=weight_decay, fused=True
        )

    def backward(self, loss: Tensor) -> None:
        """Compute the gradient of these parameters and no others: losses pass through networks they do not train."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=self.parameters)

    def step(self) -> Tensor:
        """Move against the gradient, clipped; return its norm before clipping."""
        norm = nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.optimizer.step()
        return norm


def make_learners(policy: Policy, algorithm: Algorithm[Any], config: TrainConfig) -> dict[str, Learner]:
    """Return everything that learns, by name; the policy under ``policy``.

    Critics have AdamW's own weight decay, 0.01.
    """
    assert config.learning_rate is not None, "a recipe is resolved before it is run"
    networks = algorithm.networks()
    own = {n: Learner(dict(networks[n].named_parameters()), d, 0.01) for n, d in algorithm.descents().items()}
    descent = Descent(config.learning_rate, config.grad_clip)
    return {**own, POLICY: Learner(policy.trainable(), descent, config.weight_decay)}


def train(
    policy: Policy,
    algorithm: Algorithm[Any],
    draw: Callable[[np.random.Generator], Batch],
    config: TrainConfig,
    *,
    run: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    dropout: bool = False,
    sync: Sync | None = None,
    on_step: Callable[[int, dict[str, float]], None] = lambda step, metrics: None,
) -> Log:
    """Train for ``config.steps`` steps and return the logged metrics.

    With a ``folder``, a checkpoint is kept there and the same call goes on from it; ``run`` says what the run is.
    ``on_step(step, metrics)`` is called after every step (metrics are empty but every ``log_every`` steps).
    """
    device, run = policy.device, run or {}
    dtype = compute_dtype(config.precision, device)
    learners = make_learners(policy, algorithm, config)
    if sync is not None and len(learners) > 1:  # only the policy's gradients are averaged
        raise UserError("an algorithm that owns critics cannot train in several processes: use one")
    rank = sync.rank if sync else 0
    log: Log = []
    start = 0
    if folder is not None and (saved := load_checkpoint(folder, run)) is not None:
        tensors, start, log = saved
        _restore(policy, algorithm, learners, tensors)
    policy.train(dropout)
    for step in range(start, config.steps):
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(number(config.seed, "dropout", step, rank))  # dropout is all that draws from it
            batch = draw(stream(config.seed, "batch", step, rank)).to(device)
            metrics = _update(policy, algorithm, batch, learners, config, step, dtype, sync)
        if not bool(torch.stack([m.float() for m in metrics.values()]).isfinite().all()):  # critics' losses, too
            raise _diverged(step, metrics, run)
        values: dict[str, float] = {}
        if (step + 1) % config.log_every == 0 or step + 1 == config.steps:
            values = {name: float(value) for name, value in metrics.items()}
            log.append({"step": step + 1, **values})
        if folder is not None and rank == 0 and (step + 1) % config.checkpoint_every == 0 and step + 1 < config.steps:
            save_checkpoint(folder, _tensors(policy, algorithm, learners), run, step + 1, log)
        on_step(step + 1, values)
    policy.eval()
    return log


def _update(
    policy: Policy,
    algorithm: Algorithm[Any],
    batch: Batch,
    learners: Mapping[str, Learner],
    config: TrainConfig,
    step: int,
    dtype: torch.dtype,
    sync: Sync | None,
) -> Metrics:
    """One step of everything: what the algorithm owns first, then the policy against what that has become.

    A loss that is not finite still takes its step: the run is over, and says so.
    """
    learner, norms = learners[POLICY], {}
    with autocast(dtype, batch.window.mask.device):
        batch = policy.prepare(batch)
        mean = policy(batch)
    for part in [batch] if batch.rows is None else [replace(batch, rows=rows) for rows in batch.rows]:
        with autocast(dtype, batch.window.mask.device):
            losses, metrics = algorithm.owned_loss(policy, part, mean.detach())
        for name, loss in losses.items():
            learners[name].backward(loss)
            norms[f"{name}_grad_norm"] = learners[name].step()
    # A second block: autocast keeps rounded weights until its end, and those of the critics have just moved.
    with autocast(dtype, batch.window.mask.device):
        loss, more = algorithm.loss(policy, batch, mean)
    learner.backward(loss)
    if sync is not None:
        sync.average([p.grad for p in learner.parameters if p.grad is not None])
    assert config.learning_rate is not None
    for group in learner.optimizer.param_groups:
        group["lr"] = learning_rate(config, config.learning_rate * algorithm.rate(), step)
    norm = learner.step()
    algorithm.after_step(policy, step)
    return {"loss": loss.detach(), **metrics, **norms, **more, "grad_norm": norm}


def _tensors(policy: Policy, algorithm: Algorithm[Any], learners: Mapping[str, Learner]) -> dict[str, Tensor]:
    tensors = prefixed("policy/", policy.trainable())
    for name, network in algorithm.networks().items():
        tensors |= prefixed(f"network/{name}/", network.state_dict())
    for name, learner in learners.items():
        tensors |= prefixed(f"optimizer/{name}/", optimizer_tensors(learner.optimizer))
    return tensors


def _restore(
    policy: Policy, algorithm: Algorithm[Any], learners: Mapping[str, Learner], tensors: Mapping[str, Tensor]
) -> None:
    load_into(policy.trainable(), under("policy/", tensors), complete=True)
    for name, network in algorithm.networks().items():
        network.load_state_dict(under(f"network/{name}/", tensors))
    for name, learner in learners.items():
        load_optimizer(learner.optimizer, under(f"optimizer/{name}/", tensors))


def _diverged(step: int, metrics: Metrics, run: Mapping[str, Any]) -> DivergedError:
    bad = [name for name, value in metrics.items() if not math.isfinite(float(value))]
    recipe = run.get("recipe", {})
    cell = " x ".join(str(recipe[key]) for key in ("algorithm", "tuning") if key in recipe) or "training"
    return DivergedError(
        f"{cell} diverged at step {step + 1}: {', '.join(bad)} not finite; "
        "the last checkpoint, if there is one, is kept; a smaller learning rate or alpha may help"
    )
