"""The loop that finetunes and pretrains: draw, update critics, update the policy, checkpoint.

Everything random in step n comes from (seed, n), so a run that was interrupted goes on bit for bit.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from trajtune.algorithms.base import Algorithm
from trajtune.algorithms.owned import prefixed, under
from trajtune.errors import DivergedError, UserError
from trajtune.files import remove_leftovers
from trajtune.policy import Policy, load_parameters
from trajtune.training.checkpoint import (
    MARK,
    NAME,
    load_checkpoint,
    load_optimizer,
    optimizer_tensors,
    save_checkpoint,
)
from trajtune.training.precision import Precision, autocast, compute_dtype
from trajtune.types import Batch

Log = list[dict[str, float]]


@dataclass(frozen=True)
class TrainConfig:
    """How a policy is trained. AdamW, its weight decay and gradient clip as in Prompt-DT (FACTS section 1)."""

    steps: int = 300
    batch: int = 64
    learning_rate: float | None = None
    """``None``: the tuning's own."""
    weight_decay: float = 1e-4
    warmup: int = 20
    schedule: Literal["constant", "cosine"] = "constant"
    grad_clip: float = 0.25
    precision: Precision = "auto"
    checkpoint_every: int = 100
    log_every: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "checkpoint_every", "log_every"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"seed must be 0 to {2**32 - 1}, got {self.seed}")
        for name, floor in (("weight_decay", 0.0), ("warmup", 0), ("grad_clip", 0.0)):
            if not floor <= getattr(self, name) < math.inf:
                raise UserError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.learning_rate is not None and not 0.0 <= self.learning_rate < math.inf:
            raise UserError(f"learning_rate must be a positive number, got {self.learning_rate}")


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


def train(
    policy: Policy,
    algorithm: Algorithm,
    draw: Callable[[np.random.Generator], Batch],
    config: TrainConfig,
    *,
    run: dict[str, Any] | None = None,
    folder: Path | None = None,
    dropout: bool = False,
    sync: Sync | None = None,
    on_step: Callable[[int, dict[str, float]], None] = lambda step, metrics: None,
) -> Log:
    """Train for ``config.steps`` steps and return the logged metrics.

    With a ``folder``, a checkpoint is kept there and the same call goes on from it; ``run`` says what the run is.
    ``on_step(step, metrics)`` is called after every step (metrics are empty but every ``log_every`` steps).
    """
    moving = policy.trainable()
    parameters = list(moving.values())
    device = parameters[0].device
    dtype = compute_dtype(config.precision, device)
    peak = policy.learning_rate if config.learning_rate is None else config.learning_rate
    optimizer = torch.optim.AdamW(parameters, peak, weight_decay=config.weight_decay, fused=True)
    optimizers = {"policy": optimizer, **algorithm.optimizers()}
    log: Log = []
    start = 0
    if folder is not None and (saved := load_checkpoint(folder, run or {})) is not None:
        tensors, start, log = saved
        load_parameters(moving, under("policy/", tensors), complete=True)
        algorithm.load_state({n: t.to(device) for n, t in under("algorithm/", tensors).items()})
        for name, each in optimizers.items():
            load_optimizer(each, under(f"optimizer/{name}/", tensors))
    policy.train(dropout)
    rank = sync.rank if sync else 0
    for step in range(start, config.steps):
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(hash((config.seed, step, rank)) % 2**63)  # dropout is all that draws from it
            batch = draw(np.random.default_rng([config.seed, step, rank])).to(device)
            with autocast(dtype, device):
                mean = policy(batch)
                metrics = algorithm.update_critic(policy, batch, mean.detach())
                loss, more = algorithm.loss(policy, batch, mean)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        if sync is not None:
            sync.average([p.grad for p in parameters if p.grad is not None])
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, peak, step)
        norm = torch.nn.utils.clip_grad_norm_(parameters, config.grad_clip)
        metrics = {"loss": loss.detach(), **metrics, **more, "grad_norm": norm}
        if not bool(torch.stack([m.float() for m in metrics.values()]).isfinite().all()):  # critics' losses, too
            raise _diverged(step, metrics, run)
        optimizer.step()
        algorithm.after_step(policy, step)
        values: dict[str, float] = {}
        if (step + 1) % config.log_every == 0 or step + 1 == config.steps:
            values = {name: float(value) for name, value in metrics.items()}
            log.append({"step": step + 1, **values})
        if folder is not None and rank == 0 and (step + 1) % config.checkpoint_every == 0 and step + 1 < config.steps:
            save_checkpoint(folder, _tensors(moving, algorithm, optimizers), run or {}, step + 1, log)
        on_step(step + 1, values)
    policy.eval()
    return log


def clear_checkpoint(folder: Path) -> None:
    """Remove what only an unfinished run needs, once its result is saved."""
    marks = [folder / name for name in (NAME, MARK) if (folder / name).exists()]
    if marks:  # all that is there is ours, so all temporary files are
        remove_leftovers(folder / "*")
    for mark in marks:
        mark.unlink(missing_ok=True)


def _tensors(
    moving: dict[str, torch.nn.Parameter], algorithm: Algorithm, optimizers: dict[str, torch.optim.Optimizer]
) -> dict[str, Tensor]:
    tensors = prefixed("policy/", moving) | prefixed("algorithm/", algorithm.state())
    for name, optimizer in optimizers.items():
        tensors |= prefixed(f"optimizer/{name}/", optimizer_tensors(optimizer))
    return tensors


def _diverged(step: int, metrics: dict[str, Tensor], run: dict[str, Any] | None) -> DivergedError:
    bad = [name for name, value in metrics.items() if not math.isfinite(float(value))]
    cell = " x ".join(str(run[key]) for key in ("algorithm", "tuning") if run and key in run) or "training"
    return DivergedError(
        f"{cell} diverged at step {step + 1}: {', '.join(bad)} not finite; "
        "the last checkpoint, if there is one, is kept; a smaller learning rate or alpha may help"
    )
