"""Options that several commands share, derived from the library's configs: no default is written here.

A config's fields become options and their docstrings the help. Mappings of options are written ``--set NAME=VALUE``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from tyro.conf import Suppress, UseAppendAction, arg

from trajtune.training.config import PretrainConfig, Recipe

Pairs = Annotated[UseAppendAction[list[str]], arg(metavar="NAME=VALUE")]
"""An option that may be given several times and keeps every value."""


@dataclass(frozen=True)
class RecipeFields(Recipe):
    """Which algorithm and tuning, and their numbers."""

    options: Suppress[Mapping[str, Any]] = field(default_factory=dict)
    tuning_options: Suppress[Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class PretrainFields(PretrainConfig):
    """Which agent, and what it learns from."""

    options: Suppress[Mapping[str, Any]] = field(default_factory=dict)


def with_defaults(summary: str, options: Mapping[str, Any]) -> str:
    """Put a thing's options and their defaults behind what it is."""
    each = ", ".join(f"{name}={json.dumps(value)}" for name, value in options.items())
    return f"{summary} ({each})" if each else summary
