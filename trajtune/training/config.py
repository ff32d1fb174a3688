"""What decides a run beside its data: the recipe. Without torch, for the command line, studies and reports."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from trajtune.agents import AGENTS
from trajtune.algorithms import ALGORITHMS, algorithm_options
from trajtune.compute.precision import Precision
from trajtune.configs import structured
from trajtune.errors import UserError, unknown
from trajtune.seeds import LIMIT
from trajtune.tunings import TUNINGS, tuning_config


@dataclass(frozen=True)
class TrainConfig:
    """How a policy is trained. AdamW, its weight decay and gradient clip as in Prompt-DT (FACTS section 1)."""

    steps: int = 300
    """Updates of the policy."""
    batch: int = 64
    """Windows an update."""
    learning_rate: float | None = None
    """The default is the tuning's own, times the algorithm's share of it. Of either an algorithm may take less on some
    data (``Algorithm.rate``: PPO does where it trusts its critic)."""
    weight_decay: float = 1e-4
    warmup: int = 20
    """Updates in which the learning rate rises from zero."""
    schedule: Literal["constant", "cosine"] = "constant"
    grad_clip: float = 0.25
    precision: Precision = "auto"
    checkpoint_every: int = 100
    """Updates between two checkpoints; a run that was stopped goes on from the last."""
    log_every: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "checkpoint_every", "log_every"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.seed < LIMIT:
            raise UserError(f"seed must be 0 to {LIMIT - 1}, got {self.seed}")
        for name, floor in (("weight_decay", 0.0), ("warmup", 0), ("grad_clip", 0.0)):
            if not floor <= getattr(self, name) < math.inf:
                raise UserError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.learning_rate is not None and not 0.0 <= self.learning_rate < math.inf:
            raise UserError(f"learning_rate must be a positive number, got {self.learning_rate}")


@dataclass(frozen=True)
class Recipe:
    """An algorithm, a tuning, their options and the training budget: all that decides a run beside its data."""

    algorithm: str = "ppo"
    """Which loss moves the parameters. The default, and the tuning's, came out best where options were chosen
    (docs/results/selection.md): it is sft where the data say nothing of other actions."""
    tuning: str = "adapter"
    """Which parameters move."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the algorithm, such as ``{"alpha": 0.5}``; those of what it wraps are called ``base.NAME``."""
    tuning_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the tuning, such as ``{"method": "IA3"}``."""
    std: float | None = None
    """Deviation of the action distribution, which log-probabilities are of. The default is the algorithm's own."""
    training: TrainConfig = field(default_factory=TrainConfig)

    def resolved(self) -> "Recipe":
        """Return the recipe with every option written out, so that a changed default can't pass for the old one.

        Unknown names and values that make no sense are a ``UserError``.
        """
        if self.std is not None and not 0.0 < self.std < math.inf:
            raise UserError(f"std must be a positive number, got {self.std}")
        options, entry = algorithm_options(self.algorithm, self.options), ALGORITHMS[self.algorithm]
        tuning_options = asdict(tuning_config(self.tuning, self.tuning_options))
        training = self.training
        if training.learning_rate is None:
            training = replace(training, learning_rate=round(TUNINGS[self.tuning].learning_rate * entry.rate, 12))
        std = entry.std if self.std is None else self.std
        return replace(self, options=options, tuning_options=tuning_options, std=std, training=training)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any, where: str) -> "Recipe":
        """Read what ``to_json`` gave; anything else is a ``UserError`` that names ``where``."""
        recipe: Recipe = structured(cls, value, where)
        return recipe


@dataclass(frozen=True)
class PretrainConfig:
    """What an agent is pretrained on, and how."""

    agent: str = "prompt-dt"
    """Which kind of agent."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Its sizes, such as ``{"layers": 6, "width": 128, "prompt": 5, "dropout": 0.1}``."""
    quality: str = "medium"
    """Which trajectories to learn from: an agent with room to improve is the paper's situation (FACTS section 3)."""
    dtype: Literal["float32", "float16"] = "float32"
    """What weights are rounded to in the end and stored in; float16 takes half the space."""
    training: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            steps=2000, learning_rate=3e-4, warmup=200, schedule="cosine", checkpoint_every=500, log_every=50
        )
    )

    def __post_init__(self) -> None:
        if self.agent not in AGENTS:
            raise unknown("agent", self.agent, AGENTS)
        if self.dtype not in ("float32", "float16"):
            raise UserError(f"weights are stored in float32 or float16, not {self.dtype}")
        if self.training.learning_rate is None:
            raise UserError("pretraining has no learning rate of its own: give one")
