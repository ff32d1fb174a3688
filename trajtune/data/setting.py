"""The data side of a run: which trajectories finetuning may use, and how it sees their rewards."""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

from trajtune.errors import UserError, unknown

Reward = Literal["dense", "sparse"]
"""Rewards as they were recorded, or the whole return at an episode's last step (``trajtune.data.transforms``)."""

Target = Literal["best", "mean", "expert"]
"""The return that an agent is asked for, in words: of the trajectories the best or the mean, or the expert's."""


@dataclass(frozen=True)
class Setting:
    """Which trajectories of a task, how many, and with which reward."""

    quality: str | None = "medium"
    """One of the dataset's qualities; None takes all of them together."""
    trajectories: int = 50
    reward: Reward = "dense"
    target: Target | float = "best"
    """The return that the agent is asked for: best or mean of these trajectories, the expert's, or a number."""

    @property
    def data(self) -> "Setting":
        """The same whatever the agent is asked for: which trajectories there are does not depend on it."""
        return replace(self, target="best")

    def __post_init__(self) -> None:
        if self.quality is not None and (not isinstance(self.quality, str) or not self.quality):
            raise UserError(f"quality must be one of the dataset's, or None for all of them, got {self.quality!r}")
        if type(self.trajectories) is not int or self.trajectories < 1:
            raise UserError(f"trajectories must be a whole number from 1 on, got {self.trajectories!r}")
        if self.reward not in get_args(Reward):
            raise unknown("reward", self.reward, get_args(Reward))
        if isinstance(self.target, str):
            if self.target not in get_args(Target):
                raise unknown("target", self.target, (*get_args(Target), "a number"))
        elif (
            isinstance(self.target, bool) or not isinstance(self.target, float | int) or not math.isfinite(self.target)
        ):
            raise UserError(f"target must be {', '.join(get_args(Target))} or a finite number, got {self.target!r}")
