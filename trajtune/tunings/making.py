"""Put an agent under a tuning."""

import math
from collections.abc import Mapping
from typing import Any

from trajtune.agents.base import Agent
from trajtune.errors import UserError
from trajtune.policy import Policy
from trajtune.registry import resolve
from trajtune.tunings import TUNINGS, Tuning, tuning_config
from trajtune.types import Prompt


def make_policy(
    name: str,
    agent: Agent,
    prompt: Prompt | None,
    options: Mapping[str, Any] | None = None,
    *,
    std: float,
    seed: int = 0,
) -> Policy:
    """Put an agent under a tuning. ``prompt`` [1, P] is one of the task's; ``options`` override the config.

    A tuning that needs what this agent lacks is a ``UserError``.
    """
    config, tuning = tuning_config(name, options), TUNINGS[name]
    if not 0.0 < std < math.inf:
        raise UserError(f"std must be a positive number, got {std}")
    if missing := lacks(tuning, agent):
        raise UserError(f"tuning {name} needs {' and '.join(missing)}, which this {agent.kind} agent has not")
    policy: Policy = resolve(tuning.build)(agent, prompt, config, std, seed)
    return policy


def lacks(tuning: Tuning, agent: Agent) -> list[str]:
    """Return what a tuning needs and an agent has not, in words."""
    has = {"prompt": agent.spec.prompt > 0, "adapter_targets": bool(agent.adapter_targets)}
    words = {"prompt": "a prompt", "adapter_targets": "maps that adapters go onto"}
    return [words[name] for name in sorted(tuning.needs) if not has[name]]


def tuning_sizes(agent: Agent) -> dict[str, int]:
    """Return how many fp32 numbers each tuning of default options moves on this agent, where it can be had."""
    sizes = {}
    for name, tuning in TUNINGS.items():
        if not lacks(tuning, agent):
            sizes[name] = int(resolve(tuning.build).size(agent, tuning.config()))
    return sizes


def size_text(numbers: int) -> str:
    """Return the size of fp32 numbers (1 MB = 2^20 bytes, as the paper counts), as 0.70 KB or 2.52 MB."""
    size = 4 * numbers
    return f"{size / 2**10:.2f} KB" if size < 0.01 * 2**20 else f"{size / 2**20:.2f} MB"
