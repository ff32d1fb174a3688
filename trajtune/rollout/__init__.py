"""Acting in environments, many episodes at once, and the scores that gives."""

from trajtune.rollout.acting import Actor
from trajtune.rollout.evaluate import Score, evaluate, evaluate_plain
from trajtune.statistics import mean_interval, paired_interval

__all__ = ["Actor", "Score", "evaluate", "evaluate_plain", "mean_interval", "paired_interval"]
