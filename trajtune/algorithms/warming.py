"""Teach a critic before the policy moves: Monte-Carlo returns, then one step ahead; and measure what it is worth.

A critic of some hundred updates knows nothing (FACTS section 12). This takes seconds, since no transformer is asked.
Each member leaves out its own share of the trajectories, on which it is then measured.
"""

import copy
import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from trajtune.algorithms.configs import CriticConfig
from trajtune.algorithms.critics import Critic, initialise_critic
from trajtune.algorithms.transitions import Transitions, folds_of, transitions_of
from trajtune.artifacts import signature
from trajtune.compute.tensors import tensors_digest, under
from trajtune.data.trajectories import Array, Trajectories
from trajtune.errors import UserError
from trajtune.files import read_arrays, write_arrays
from trajtune.policy import Policy
from trajtune.seeds import torch_stream

Over = Literal["q", "v"]
Warm = tuple[dict[str, Tensor], dict[str, float]]
CHECKS, PATIENCE = 8, 3
"""While it learns one step ahead, it is measured so often, and stops after so many checks without a new best: with few
trajectories, bootstrapping may drift away from what they returned."""
WORTH, DIGEST = "worth/", "digest"
_KEPT: "OrderedDict[str, Warm]" = OrderedDict()
KEEP = 16
_folder: Path | None = None


@contextmanager
def shared_in(folder: Path) -> Iterator[None]:
    """Share warm-ups with other processes meanwhile, through files in a folder. Anything odd there is done anew."""
    global _folder
    before, _folder = _folder, folder
    try:
        yield
    finally:
        _folder = before


def forget() -> None:
    """Let the next critic of this process be warmed up anew."""
    _KEPT.clear()


def warm_critic(
    policy: Policy, data: Trajectories, seed: int, config: CriticConfig, over: Over
) -> tuple[Critic, dict[str, float]]:
    """Build a critic over states and actions (``q``) or states (``v``), warmed up, and say what it is worth.

    Cells with the same few-shot set, normaliser, seed and options share one warm-up within a process, and through
    ``shared_in`` with others: the same bits as doing it again.
    """
    table = transitions_of(policy, data, config.gamma)
    x = inputs_of(table, config, over)
    critic = initialise_critic(x.shape[1], config.members, seed, over)
    after, follows = inputs_of(table, config, over, following=True), followed(table, over)
    told = {"rewards": table.rewards, "terminal": table.terminal, "trajectory": table.trajectory}
    found = {"x": x, "after": after, "follows": follows, **told}
    key = tensors_digest(found, signature([over, seed, config.warm()]))
    if key not in _KEPT:
        warm = _read(key)
        if warm is None:
            with torch.random.fork_rng(devices=[]):
                worth = _warm_up(critic, table, seed, config, over)
            warm = {n: t.detach().clone() for n, t in critic.state_dict().items()}, worth
            _write(key, warm)
        _KEPT[key] = warm
        while len(_KEPT) > KEEP:
            _KEPT.popitem(last=False)
    _KEPT.move_to_end(key)
    state, worth = _KEPT[key]
    critic.load_state_dict(state)
    return critic.to(policy.device), dict(worth)


def _write(key: str, warm: Warm) -> None:
    if _folder is None:
        return
    tensors = {**warm[0], **{WORTH + name: torch.tensor(value, dtype=torch.float64) for name, value in warm[1].items()}}
    _folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    write_arrays(_folder / f"{key}.safetensors", {**arrays, DIGEST: _digest(tensors)})


def _read(key: str) -> Warm | None:
    """Return what another process has left of a warm-up, if it is whole."""
    if _folder is None or not (path := _folder / f"{key}.safetensors").exists():
        return None
    try:
        arrays = read_arrays(path, "warmed-up critic")
    except UserError:
        return None
    digest = arrays.pop(DIGEST, None)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    if digest is None or not np.array_equal(digest, _digest(tensors)):
        return None
    worth = {name: float(value) for name, value in under(WORTH, tensors).items()}
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(WORTH)}, worth


def _digest(tensors: Mapping[str, Tensor]) -> Array:
    return np.frombuffer(bytes.fromhex(tensors_digest(tensors)), np.uint8).copy()


def inputs_of(table: Transitions, config: CriticConfig, over: Over, following: bool = False) -> Tensor:
    """Return what a critic is asked about every step, or about what follows it: [M, S (+ 1) (+ A)]."""
    states = table.next_states if following else table.states
    actions = table.next_actions if following else table.actions
    passed = (table.time + following * table.step).unsqueeze(-1)
    return torch.cat([states, *([passed] if config.time else []), *([actions] if over == "q" else [])], dim=-1)


def followed(table: Transitions, over: Over) -> Tensor:
    """Where there is something to bootstrap from, or a terminal: [M] bool."""
    return table.terminal | (table.action_follows if over == "q" else table.state_follows)


def _warm_up(critic: Critic, table: Transitions, seed: int, config: CriticConfig, over: Over) -> dict[str, float]:
    known = table.weights.sum().clamp_min(1e-9)
    centre = (table.weights * table.returns).sum() / known
    spread = ((table.weights * (table.returns - centre).square()).sum() / known).sqrt()
    critic.centre.copy_(centre)
    critic.scale.copy_(spread.maximum(1e-3 * centre.abs()).clamp_min(1e-6))
    count = int(table.trajectory.max()) + 1
    folds = folds_of(count, config.members)
    generator = torch_stream(seed, "warm-up", over)
    every = torch.ones(len(table.rewards), dtype=torch.bool)
    kept = [every if folds == 0 else table.trajectory % folds != m for m in range(config.members)]
    follows = followed(table, over)
    x, after = inputs_of(table, config, over), inputs_of(table, config, over, following=True)
    optimizer = torch.optim.AdamW(critic.parameters(), config.warm_learning_rate, fused=True)
    average: Critic | None = None
    best = _Best()
    pools = [torch.nonzero(mine)[:, 0] for mine in kept]
    for step in range(config.monte_carlo + config.bootstrapped):
        if step == config.monte_carlo:
            average = copy.deepcopy(critic).requires_grad_(False)
            pools = [torch.nonzero(mine & follows)[:, 0] for mine in kept]
        if min(map(len, pools)) == 0:
            break
        rows = torch.stack([p[torch.randint(len(p), (config.warm_batch,), generator=generator)] for p in pools])
        target, weight = table.returns[rows], table.weights[rows]
        if average is not None:
            with torch.no_grad():
                later = torch.where(table.terminal[rows], 0.0, average.each(after[rows]))
            target, weight = table.rewards[rows] + config.gamma * later, torch.ones_like(weight)
        optimizer.zero_grad(set_to_none=True)
        error = (critic.each(x[rows]) - target) / critic.scale
        ((weight * error.square()).sum(1) / weight.sum(1).clamp_min(1e-9)).sum().backward()
        torch.nn.utils.clip_grad_norm_(critic.parameters(), config.grad_clip)
        optimizer.step()
        if average is not None:
            torch._foreach_lerp_(list(average.parameters()), list(critic.parameters()), config.warm_tau)
            if folds and (step + 1 - config.monte_carlo) % max(1, config.bootstrapped // CHECKS) == 0:
                best.see(critic, worth_of(critic, x, table, folds)["critic_error"])
                if best.worse == PATIENCE:
                    break
    if best.state:
        critic.load_state_dict(best.state)
    return worth_of(critic, x, table, folds)


class _Best:
    """The state with the least error on what was left out."""

    def __init__(self) -> None:
        self.error, self.worse = math.inf, 0
        self.state: dict[str, Tensor] = {}

    def see(self, critic: Critic, error: float) -> None:
        if error < self.error:
            self.error, self.worse = error, 0
            self.state = {name: tensor.clone() for name, tensor in critic.state_dict().items()}
        else:
            self.worse += 1


@torch.no_grad()
def worth_of(critic: Critic, x: Tensor, table: Transitions, folds: int) -> dict[str, float]:
    """Return the error on trajectories that a member has not seen, and the rank correlation, mean over members.

    ``critic_error`` is the share of the returns' variance that is left unexplained: 1 knows nothing but the mean.
    ``critic_rank`` is Spearman's rho. Both against Monte-Carlo returns; NaN where no trajectory could be left out, or
    all returns are equal.
    """
    errors, ranks = [], []
    values = critic(x)
    for m in range(critic.members if folds else 0):
        out = table.trajectory % folds == m
        said, told, weight = values[m][out], table.returns[out], table.weights[out]
        mean = (weight * told).sum() / weight.sum()
        variance = (weight * (told - mean).square()).sum()
        errors.append(float((weight * (said - told).square()).sum() / variance))
        ranks.append(rank_correlation(said, told))
    nothing = float("nan")
    return {
        "critic_error": sum(errors) / len(errors) if errors else nothing,
        "critic_rank": sum(ranks) / len(ranks) if ranks else nothing,
    }


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's rho of two vectors [n]; ties, which real values hardly have, in the order of their places."""
    x, y = (v.argsort(stable=True).argsort(stable=True).double() for v in (a, b))
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / (x.square().sum() * y.square().sum()).sqrt())
