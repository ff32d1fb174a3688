"""Reinforcement finetuning for trajectory transformers.

The names below are what most users need; each is loaded when it is first used, so that ``import trajtune`` is instant.
"""

TYPE_CHECKING = False  # what type checkers take for true; importing typing would be most of this module's time
if TYPE_CHECKING:
    from typing import Any

    from trajtune.agents.saving import SavedAgent, load_agent
    from trajtune.data.episodes import from_episodes
    from trajtune.data.fewshot import Brief, FewShot, few_shot
    from trajtune.data.setting import Setting
    from trajtune.data.store import Dataset
    from trajtune.errors import DivergedError, UserError
    from trajtune.rollout.score import evaluate
    from trajtune.statistics import paired_interval
    from trajtune.study.declaration import Study
    from trajtune.study.reading import load_study
    from trajtune.study.runners import run_study
    from trajtune.study.stored import read_results
    from trajtune.suites import get_suite
    from trajtune.training.config import PretrainConfig, Recipe, TrainConfig
    from trajtune.training.deltas import load_delta
    from trajtune.training.finetune import finetune
    from trajtune.training.pretrain import pretrain

__version__ = "0.1.0"

_HOMES = {
    "Brief": "data.fewshot",
    "Dataset": "data.store",
    "DivergedError": "errors",
    "FewShot": "data.fewshot",
    "PretrainConfig": "training.config",
    "Recipe": "training.config",
    "SavedAgent": "agents.saving",
    "Setting": "data.setting",
    "Study": "study.declaration",
    "TrainConfig": "training.config",
    "UserError": "errors",
    "evaluate": "rollout.score",
    "few_shot": "data.fewshot",
    "finetune": "training.finetune",
    "from_episodes": "data.episodes",
    "get_suite": "suites",
    "load_agent": "agents.saving",
    "load_delta": "training.deltas",
    "load_study": "study.reading",
    "paired_interval": "statistics",
    "pretrain": "training.pretrain",
    "read_results": "study.stored",
    "run_study": "study.runners",
}

__all__ = [
    "Brief",
    "Dataset",
    "DivergedError",
    "FewShot",
    "PretrainConfig",
    "Recipe",
    "SavedAgent",
    "Setting",
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


def __getattr__(name: str) -> "Any":
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"trajtune.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'trajtune' has no attribute {name!r}")


def __dir__() -> "list[str]":
    return sorted({*globals(), *__all__})
