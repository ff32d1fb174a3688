"""Which parameters move. A tuning is one module here and one line in the registry."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from trajtune.agents import PromptDT
from trajtune.configs import override
from trajtune.errors import UserError, unknown
from trajtune.policy import Plain, Policy
from trajtune.tunings.adapter import AdapterConfig, AdapterPolicy
from trajtune.tunings.decorator import DecoratorConfig, DecoratorPolicy
from trajtune.tunings.full import FullConfig, FullPolicy
from trajtune.tunings.prompt import PromptConfig, PromptPolicy
from trajtune.types import Prompt

STD = 0.2
"""Deviation of the action distribution. The paper leaves it open."""


class Tuning(NamedTuple):
    """A policy class and the config it takes."""

    policy: type[Policy]
    config: type[Any]


TUNINGS: dict[str, Tuning] = {
    "prompt": Tuning(PromptPolicy, PromptConfig),
    "adapter": Tuning(AdapterPolicy, AdapterConfig),
    "decorator": Tuning(DecoratorPolicy, DecoratorConfig),
    "full": Tuning(FullPolicy, FullConfig),
}


def _config(name: str, options: Mapping[str, Any] | None) -> Any:
    """Return a tuning's config with some fields overridden."""
    if name not in TUNINGS:
        raise unknown("tuning", name, TUNINGS)
    return override(TUNINGS[name].config(), options or {}, f"tuning {name}")


def check_std(std: float) -> None:
    """Raise a ``UserError`` unless this can be a deviation."""
    if not 0.0 < std < math.inf:
        raise UserError(f"std must be a positive number, got {std}")


def make_policy(
    name: str,
    agent: PromptDT,
    prompt: Prompt,
    options: Mapping[str, Any] | None = None,
    *,
    std: float = STD,
    seed: int = 0,
) -> Policy:
    """Put an agent under a tuning. ``prompt`` [1, P] is one of the task's; ``options`` override the config."""
    config = _config(name, options)
    check_std(std)
    return TUNINGS[name].policy(agent, prompt, config, std, seed)  # type: ignore[call-arg, arg-type]


def resolve_tuning(name: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return all options of a tuning, those not given at their defaults: what is saved with a run."""
    return dataclasses.asdict(_config(name, options))


__all__ = ["STD", "TUNINGS", "Plain", "Policy", "Tuning", "check_std", "make_policy", "resolve_tuning"]
