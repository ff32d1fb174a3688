"""Direct preference optimisation: the data's action is preferred to a worse one (paper, equation 4)."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from trajtune.algorithms.base import Algorithm, Metrics, Shape, detached
from trajtune.algorithms.configs import DPOConfig
from trajtune.algorithms.losses import dpo_loss, log_prob, masked_mean
from trajtune.data.sampling import draw_batch
from trajtune.data.trajectories import Array, Trajectories
from trajtune.policy import Policy
from trajtune.types import Batch


@dataclass(frozen=True)
class Pairs(Batch):
    """Windows with what the dispreferred action of each step is made of, and whether it has one."""

    rejected: Tensor = field(kw_only=True)  # [B, K, A]: the action itself, or noise around the reference's
    paired: Tensor = field(kw_only=True)  # [B, K] bool


class DPO(Algorithm[Pairs]):
    """Prefer the few-shot data's actions to others, near the reference."""

    def __init__(self, config: DPOConfig) -> None:
        self.config = config
        self._worse: tuple[Array, Array] | None = None

    def setup(self, policy: Policy, data: Trajectories, seed: int) -> None:
        if self.config.rejected == "neighbour":
            states = policy.normalise(torch.from_numpy(data.observations).to(policy.device)).cpu()
            self._worse = worse_neighbours(states, data)

    def draw(self, data: Trajectories, rng: np.random.Generator, shape: Shape) -> Pairs:
        batch = draw_batch(data, rng, shape.batch, shape.window, shape.prompt, shape.max_timesteps)
        w = batch.window
        if self._worse is not None:
            rows = w.index.numpy()
            rejected, has = (torch.from_numpy(each[rows]) for each in self._worse)
            return Pairs(batch.prompt, w, rejected=rejected, paired=has & w.mask)
        noise = torch.from_numpy(rng.standard_normal(w.actions.shape, np.float32))
        if self.config.rejected == "reference":
            return Pairs(batch.prompt, w, rejected=noise, paired=w.mask)
        rejected = (w.actions + self.config.perturbation * noise).clamp(-1.0, 1.0)
        return Pairs(batch.prompt, w, rejected=rejected, paired=w.mask)

    def loss(self, policy: Policy, batch: Pairs, mean: Tensor) -> tuple[Tensor, Metrics]:
        new, reference, w = policy.normal(mean), policy.reference(batch), batch.window
        worse = batch.rejected
        if self.config.rejected == "reference":
            worse = (reference.mean + policy.std * worse).clamp(-1.0, 1.0)
        chosen, rejected = (
            log_prob(new, actions, batch.paired) - log_prob(reference, actions, batch.paired)
            for actions in (w.actions, worse)
        )
        loss = dpo_loss(chosen, rejected, self.config.beta, batch.paired)
        right = masked_mean((chosen > rejected).float(), batch.paired)
        margin = masked_mean(chosen - rejected, batch.paired)
        return loss, detached(dpo=loss, margin=margin, preferred=right)


def worse_neighbours(states: Tensor, data: Trajectories) -> tuple[Array, Array]:
    """Return for every step what was done at the nearest state of a trajectory with a lower return.

    Actions [M, A], and whether there is such a trajectory, [M] bool. ``states`` [M, S] are normalised.
    """
    owner = np.repeat(np.arange(len(data)), data.length)
    found, has = np.zeros_like(data.actions), np.zeros(len(owner), bool)
    for i in range(len(data)):
        lower = np.flatnonzero((data.returns < data.returns[i])[owner])
        if len(lower):
            own = owner == i
            nearest = torch.cdist(states[own], states[lower]).argmin(1).numpy()
            found[own], has[own] = data.actions[lower][nearest], True
    return found, has
