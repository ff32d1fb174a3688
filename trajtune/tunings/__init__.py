"""Which parameters move. A tuning is one module here and one line in the registry."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from trajtune.agents import PromptDT
from trajtune.configs import override
from trajtune.errors import unknown
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
    if name not in TUNINGS:
        raise unknown("tuning", name, TUNINGS)
    tuning = TUNINGS[name]
    config = override(tuning.config(), options or {}, f"tuning {name}")
    return tuning.policy(agent, prompt, config, std, seed)  # type: ignore[call-arg, arg-type]


__all__ = ["STD", "TUNINGS", "Plain", "Policy", "Tuning", "make_policy"]
