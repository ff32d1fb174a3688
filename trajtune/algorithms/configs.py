"""The options of every algorithm, without torch: what the command line and a study check before anything runs."""

import math
from dataclasses import dataclass

from trajtune.configs import check_shares
from trajtune.errors import UserError


@dataclass(frozen=True)
class SFTConfig:
    """Nothing to choose."""


@dataclass(frozen=True)
class DPOConfig:
    """How pairs are made, and how far the policy may go from its reference. The paper names neither number."""

    beta: float = 0.1
    """Larger stays nearer to the reference."""
    perturbation: float = 0.5
    """Standard deviation of the Gaussian that makes the dispreferred action, clipped to the action box [-1, 1]."""


@dataclass(frozen=True)
class GRPOConfig:
    """Numbers that the paper leaves open, apart from the group's definition."""

    epsilon: float = 0.2
    """How far the ratio to the old policy counts."""
    beta: float = 0.01
    """Weight of the divergence from the reference."""
    old_policy_every: int = 10
    """Updates between two snapshots of the old policy."""
    group_size: int = 0
    """0: all trajectories of the task, whose initial states differ by reset noise only. k: the k nearest of them."""
    dense: bool = False
    """Compare returns-to-go at the same timestep instead of whole returns: an advantage for every step."""
    floor: float = 1e-3
    """The deviation in (8) is at least this share of the mean magnitude."""

    def __post_init__(self) -> None:
        if self.group_size < 0:
            raise UserError(f"group_size must be at least 0, got {self.group_size}")
        check_clipping(self)


@dataclass(frozen=True)
class PPOConfig:
    """The usual numbers; the paper names none."""

    epsilon: float = 0.2
    """How far the ratio to the old policy counts."""
    gamma: float = 0.99
    lam: float = 0.95
    """Lambda of GAE: 0 trusts the critic, 1 the returns."""
    old_policy_every: int = 10
    """Updates between two snapshots of the old policy, and of the advantages with it."""
    normalise_advantages: bool = True
    """Mean 0 and deviation 1 over the data."""
    floor: float = 1e-3
    """That deviation is at least this share of the mean magnitude."""
    critic_learning_rate: float = 3e-4
    critic_grad_clip: float = 1.0

    def __post_init__(self) -> None:
        check_clipping(self)
        check_shares(self, "gamma", "lam")
        check_critic(self)


@dataclass(frozen=True)
class CQLConfig:
    """The paper names none of these numbers."""

    alpha: float = 1.0
    """Weight of the conservative term (11)."""
    anchor_data: bool = False
    """Raise the values of the data's actions, as Kumar et al. (2020) do, instead of the current policy's as (11)."""
    random_actions: int = 1
    """Actions of the random policy mu (uniform in [-1, 1]) a step, for the first expectation in (11).

    One is an unbiased estimate: drawn anew every step, and averaged over the batch. More cost a critic's pass each.
    """
    gamma: float = 0.99
    tau: float = 0.005
    """Step of the target critics' moving average."""
    critic_learning_rate: float = 3e-4
    critic_grad_clip: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.random_actions <= 1000:
            raise UserError(f"random_actions must be 1 to 1000, got {self.random_actions}")
        check_shares(self, "gamma", "tau")
        check_critic(self)


@dataclass(frozen=True)
class QPConfig:
    """What the Q term adds to the base algorithm; the base's own options stand beside these, as ``base.NAME``."""

    alpha: float = 0.1
    """Weight of the Q term. The paper finds 0.1 to 1 robust (appendix F)."""
    normalise_q: bool = True
    """Divide the Q term by the detached mean |Q| of the other critic, so that alpha is free of reward scale."""
    gamma: float = 0.99
    tau: float = 0.005
    """Step of the moving averages: target critics and target policy."""
    critic_learning_rate: float = 3e-4
    critic_grad_clip: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.alpha):
            raise UserError(f"alpha must be finite, got {self.alpha}")
        check_shares(self, "gamma", "tau")
        check_critic(self)


def check_clipping(config: GRPOConfig | PPOConfig) -> None:
    """Raise a ``UserError`` unless the clipped surrogate's numbers make sense."""
    if config.old_policy_every < 1:
        raise UserError(f"old_policy_every must be at least 1, got {config.old_policy_every}")
    if not 0.0 < config.epsilon < 1.0:
        raise UserError(f"epsilon must lie between 0 and 1, got {config.epsilon}")


def check_critic(config: PPOConfig | CQLConfig | QPConfig) -> None:
    """Raise a ``UserError`` unless a critic can learn with these numbers."""
    for name in ("critic_learning_rate", "critic_grad_clip"):
        if not 0.0 <= getattr(config, name) < math.inf:
            raise UserError(f"{name} must not be negative, got {getattr(config, name)}")
