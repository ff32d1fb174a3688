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
    from trajtune.study.grid import Study, load_study
    from trajtune.study.results import read_results
    from trajtune.study.runner import run_study
    from trajtune.suites import get_suite
    from trajtune.training import FewShot, TrainConfig, few_shot, finetune, pretrain
    from trajtune.tunings.saving import load_delta

_HOMES = {
    "Dataset": "trajtune.data.store",
    "DivergedError": "trajtune.errors",
    "FewShot": "trajtune.training",
    "Study": "trajtune.study.grid",
    "TrainConfig": "trajtune.training",
    "UserError": "trajtune.errors",
    "evaluate": "trajtune.rollout",
    "few_shot": "trajtune.training",
    "finetune": "trajtune.training",
    "from_episodes": "trajtune.data.trajectories",
    "get_suite": "trajtune.suites",
    "load_agent": "trajtune.agents",
    "load_delta": "trajtune.tunings.saving",
    "load_study": "trajtune.study.grid",
    "paired_interval": "trajtune.rollout",
    "pretrain": "trajtune.training",
    "read_results": "trajtune.study.results",
    "run_study": "trajtune.study.runner",
}

__all__ = [
    "Dataset",
    "DivergedError",
    "FewShot",
    "Study",
    "TrainConfig",
    "UserError",
    "evaluate",
    "few_shot",
    "finetune",
    "from_episodes",
    "get_suite",
    "load_agent",
    "load_delta",
    "load_study",
    "paired_interval",
    "pretrain",
    "read_results",
    "run_study",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'trajtune' has no attribute {name!r}")
