"""Reinforcement finetuning for trajectory transformers.

The names below are what most users need; each is loaded when it is first used, so that ``import trajtune`` is instant.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from trajtune.agents import load_agent
    from trajtune.data.store import Dataset
    from trajtune.data.trajectories import from_episodes
    from trajtune.errors import DivergedError, UserError
    from trajtune.rollout import evaluate, paired_interval
    from trajtune.suites import get_suite
    from trajtune.training import FewShot, TrainConfig, few_shot, finetune, pretrain
    from trajtune.tunings.saving import load_delta

_HOMES = {
    "Dataset": "trajtune.data.store",
    "DivergedError": "trajtune.errors",
    "FewShot": "trajtune.training",
    "TrainConfig": "trajtune.training",
    "UserError": "trajtune.errors",
    "evaluate": "trajtune.rollout",
    "few_shot": "trajtune.training",
    "finetune": "trajtune.training",
    "from_episodes": "trajtune.data.trajectories",
    "get_suite": "trajtune.suites",
    "load_agent": "trajtune.agents",
    "load_delta": "trajtune.tunings.saving",
    "paired_interval": "trajtune.rollout",
    "pretrain": "trajtune.training",
}

__all__ = [
    "Dataset",
    "DivergedError",
    "FewShot",
    "TrainConfig",
    "UserError",
    "evaluate",
    "few_shot",
    "finetune",
    "from_episodes",
    "get_suite",
    "load_agent",
    "load_delta",
    "paired_interval",
    "pretrain",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'trajtune' has no attribute {name!r}")
