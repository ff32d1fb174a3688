"""Direct preference optimisation: the data's action is preferred to a perturbed one (paper, equation 4)."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from trajtune.algorithms.base import Algorithm, Metrics, Shape, detached
from trajtune.algorithms.configs import DPOConfig
from trajtune.algorithms.losses import dpo_loss, log_prob, masked_mean
from trajtune.data.sampling import draw_batch
from trajtune.data.trajectories import Trajectories
from trajtune.policy import Policy
from trajtune.types import Batch


@dataclass(frozen=True)
class Pairs(Batch):
    """Windows with a dispreferred action beside each of the data's."""

    rejected: Tensor = field(kw_only=True)  # [B, K, A]


class DPO(Algorithm[Pairs]):
    """Prefer the few-shot data's actions to perturbations of them, near the reference."""

    def __init__(self, config: DPOConfig) -> None:
        self.config = config

    def draw(self, data: Trajectories, rng: np.random.Generator, shape: Shape) -> Pairs:
        batch = draw_batch(data, rng, shape.batch, shape.window, shape.prompt, shape.max_timesteps)
        actions = batch.window.actions
        noise = torch.from_numpy(rng.standard_normal(actions.shape, np.float32))
        rejected = (actions + self.config.perturbation * noise).clamp(-1.0, 1.0)
        return Pairs(batch.prompt, batch.window, rejected=rejected)

    def loss(self, policy: Policy, batch: Pairs, mean: Tensor) -> tuple[Tensor, Metrics]:
        new, reference, w = policy.normal(mean), policy.reference(batch), batch.window
        chosen, rejected = (
            log_prob(new, actions, w.mask) - log_prob(reference, actions, w.mask)
            for actions in (w.actions, batch.rejected)
        )
        loss = dpo_loss(chosen, rejected, self.config.beta, w.mask)
        right = masked_mean((chosen > rejected).float(), w.mask)
        margin = masked_mean(chosen - rejected, w.mask)
        return loss, detached(dpo=loss, margin=margin, preferred=right)
