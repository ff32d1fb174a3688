"""The options of every algorithm, without torch: what the command line and a study check before anything runs."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from trajtune.configs import check_shares
from trajtune.errors import UserError


@dataclass(frozen=True)
class CriticConfig:
    """The critics of QP, CQL, PPO, IQL and AWR: how they are warmed up before the policy moves, and go on learning.

    Options of an algorithm that has one are ``critic.NAME``. The paper says two networks, Mish, three layers of 256
    (appendix C), and nothing of warming up; FACTS section 12 is why it is done.
    """

    gamma: float = 0.95
    members: int = 2
    """Independent networks; two for double Q-learning. Each leaves out its own fifth of the trajectories."""
    monte_carlo: int = 500
    """First updates of the warm-up, towards discounted returns; 0 with ``bootstrapped`` 0 starts from scratch."""
    bootstrapped: int = 2000
    """Then updates towards r + gamma times the value of what the data did next (SARSA)."""
    warm_batch: int = 128
    warm_learning_rate: float = 1e-3
    warm_tau: float = 0.01
    learning_rate: float = 3e-4
    """While the policy is trained; 0 leaves the critic as the warm-up left it."""
    grad_clip: float = 1.0
    tau: float = 0.005
    """Step of the target critics' moving average."""
    n_step: int = 1
    """Rewards summed up before a target bootstraps, as far as a window holds them."""
    flat_updates: int = 0
    """Minibatches of ``warm_batch`` single steps that it learns from at every step of the policy, each towards what the
    data did next; 0: once, from the policy's windows and towards what the algorithm says."""
    time: bool = False
    """Tell the critic how much of the longest episode has passed."""

    def __post_init__(self) -> None:
        check_shares(self, "gamma", "tau", "warm_tau")
        for name, least in (
            ("members", 1),
            ("monte_carlo", 0),
            ("bootstrapped", 0),
            ("warm_batch", 1),
            ("n_step", 1),
            ("flat_updates", 0),
        ):
            if getattr(self, name) < least:
                raise UserError(f"critic.{name} must be at least {least}, got {getattr(self, name)}")
        for name in ("warm_learning_rate", "learning_rate", "grad_clip"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise UserError(f"critic.{name} must not be negative, got {getattr(self, name)}")

    def warm(self) -> dict[str, Any]:
        """Return what decides the warm-up: not what only counts afterwards."""
        later = ("learning_rate", "tau", "n_step", "flat_updates")
        return {name: value for name, value in asdict(self).items() if name not in later}


@dataclass(frozen=True)
class VCriticConfig(CriticConfig):
    """A critic over states: five members, so that every trajectory has one that has not seen it (cross-fitting)."""

    members: int = 5
    monte_carlo: int = 100
    """Fewer than a Q function's: on the point suite more overfitted; no suite's selection has asked."""
    bootstrapped: int = 400


@dataclass(frozen=True)
class SFTConfig:
    """Which of the trajectories are imitated."""

    quantile: float = 0.0
    """Only those whose return is at or above this quantile: 0 all of them, 0.9 the best tenth."""

    def __post_init__(self) -> None:
        check_shares(self, "quantile")


@dataclass(frozen=True)
class DPOConfig:
    """How pairs are made, and how far the policy may go from its reference. The paper names neither number."""

    beta: float = 0.1
    """Larger stays nearer to the reference."""
    perturbation: float = 0.5
    """Standard deviation of the Gaussian that makes the dispreferred action, clipped to the action box [-1, 1]."""
    rejected: Literal["perturbed", "reference", "neighbour"] = "perturbed"
    """The dispreferred action: the data's perturbed (the paper's), a sample of the reference policy, or what was done
    at the nearest state of a trajectory with a lower return."""


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
    """The deviation in (8) is at least this share of the mean magnitude; below, the group is equal: no advantage."""
    divergence: Literal["k3", "exact"] = "exact"
    """``k3`` is equation 7, on the data's actions, where it explodes; ``exact`` what it estimates where deviations are
    equal: |mu - mu_ref|^2 / (2 sigma^2)."""

    def __post_init__(self) -> None:
        if self.group_size < 0:
            raise UserError(f"group_size must be at least 0, got {self.group_size}")
        check_clipping(self)


@dataclass(frozen=True)
class PPOConfig:
    """The usual numbers; the paper names none."""

    epsilon: float = 0.2
    """How far the ratio to the old policy counts."""
    lam: float = 0.8
    """Lambda of GAE: 0 trusts the critic, 1 the returns."""
    old_policy_every: int = 100
    """Updates between two snapshots of the old policy, and of the advantages with it."""
    normalise_advantages: bool = True
    """Mean 0 and deviation 1 over the data."""
    floor: float = 1e-3
    """That deviation is at least this share of the mean magnitude."""
    imitation: float = 0.3
    """Weight of minus the log-probability of the data's actions beside (9), in which it is an advantage of that much
    that every action has."""
    trust: bool = True
    """Weigh (9) by what can be known of other actions, and imitation by the rest; false is (9) as printed."""
    rate: float = 0.3
    """Share of the learning rate that (9) takes; imitation takes all of it, and their mixture what lies between."""

    def __post_init__(self) -> None:
        check_clipping(self)
        check_shares(self, "lam", "rate")
        if not 0.0 <= self.imitation < math.inf:
            raise UserError(f"imitation must be a number from 0, got {self.imitation}")


@dataclass(frozen=True)
class CQLConfig:
    """The paper names none of these numbers."""

    alpha: float = 1.0
    """Weight of the conservative term (11), with Q in units of the data's returns."""
    anchor_data: bool = True
    """Raise the values of the data's actions, as Kumar et al. (2020) do; false is (11) as printed: the policy's."""
    gap: Literal["mean", "logsumexp"] = "mean"
    """How the values of random actions are lowered: their mean (11), or logsumexp as CQL(H) of Kumar et al."""
    calibrated: bool = False
    """Lower no value below the return that the data reached from there (Cal-QL, Nakamoto et al. 2023)."""
    random_actions: int = 1
    """Actions of the random policy mu (uniform in [-1, 1]) a step, for the first expectation in (11).

    One is an unbiased estimate of a mean: drawn anew every step, and averaged over the batch. logsumexp wants more.
    """

    def __post_init__(self) -> None:
        if not 1 <= self.random_actions <= 1000:
            raise UserError(f"random_actions must be 1 to 1000, got {self.random_actions}")


QScale = Literal["none", "magnitude", "gradient"]


@dataclass(frozen=True)
class QPConfig:
    """What the Q term adds to the base algorithm; the base's own options stand beside these, as ``base.NAME``."""

    alpha: float = 0.03
    """Weight of the Q term; what it means depends on ``scale``. The paper finds 0.1 to 1 robust (appendix F)."""
    scale: QScale = "gradient"
    """What the Q term is divided by, detached: nothing (as printed), the other critic's mean |Q| (the authors' QT), or
    the mean |dQ/da|, so that alpha says how far actions move."""
    trust: bool = True
    """Weigh alpha by what can be known of other actions (``trust`` in the log): see docs/algorithms/critics.md."""
    target_actions: int = 1
    """Actions around the target policy's whose best value is bootstrapped from (QT's ``max_q_backup``); 1 is (16)."""
    target_noise: float = 0.2
    """Their deviation."""
    tau: float = 0.005
    """Step of the target policy's moving average."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.alpha):
            raise UserError(f"alpha must be finite, got {self.alpha}")
        if not 1 <= self.target_actions <= 1000 or not 0.0 <= self.target_noise <= 2.0:
            raise UserError("target_actions must be 1 to 1000 and target_noise 0 to 2")
        check_shares(self, "tau")


@dataclass(frozen=True)
class IQLConfig:
    """Implicit Q-learning (Kostrikov et al. 2022), a baseline that the paper lacks."""

    expectile: float = 0.7
    """Which expectile of Q the value is: 0.5 the mean of what the data did, near 1 the best of it."""
    temperature: float = 3.0
    """Advantages, in units of their deviation, are multiplied by this before exp."""
    largest_weight: float = 100.0
    trust: bool = True
    """Weigh the temperature by what can be known of other actions; where that is nothing, it is sft."""

    def __post_init__(self) -> None:
        check_shares(self, "expectile")
        check_weights(self)


@dataclass(frozen=True)
class AWRConfig:
    """Advantage-weighted regression (Peng et al. 2019), a baseline that the paper lacks."""

    temperature: float = 1.0
    """Advantages, in units of their deviation, are multiplied by this before exp."""
    largest_weight: float = 20.0
    trust: bool = True
    """Weigh the temperature by what can be known of other actions; where that is nothing, it is sft."""

    def __post_init__(self) -> None:
        check_weights(self)


def check_weights(config: IQLConfig | AWRConfig) -> None:
    """Raise a ``UserError`` unless weights exp(temperature * advantage) make sense."""
    if not 0.0 <= config.temperature < math.inf:
        raise UserError(f"temperature must not be negative, got {config.temperature}")
    if not 1.0 <= config.largest_weight < math.inf:
        raise UserError(f"largest_weight must be at least 1, got {config.largest_weight}")


def check_clipping(config: GRPOConfig | PPOConfig) -> None:
    """Raise a ``UserError`` unless the clipped surrogate's numbers make sense."""
    if config.old_policy_every < 1:
        raise UserError(f"old_policy_every must be at least 1, got {config.old_policy_every}")
    if not 0.0 < config.epsilon < 1.0:
        raise UserError(f"epsilon must lie between 0 and 1, got {config.epsilon}")
