"""Which parameters move. A tuning is one module here, its config in ``configs.py`` and one line in the table."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from trajtune.configs import override
from trajtune.registry import Registry
from trajtune.tunings.configs import AdapterConfig, DecoratorConfig, FullConfig, PromptConfig


@dataclasses.dataclass(frozen=True)
class Tuning:
    """What a tuning is in a word, its torch-free config, and where its policy class is (``module:Class``).

    The class is called with ``(agent, prompt, config, std, seed)`` and has ``size(agent, config)``, the number of
    fp32 numbers that move.
    """

    summary: str
    config: type[Any]
    build: str
    learning_rate: float
    """Where AdamW starts unless told otherwise: few parameters that start at zero want larger steps."""
    needs: frozenset[str] = frozenset()
    """What it asks of the agent: ``prompt``, a prompt of at least one step; ``adapter_targets``, maps to adapt."""


TUNINGS = Registry(
    "tuning",
    "trajtune.tunings",
    Tuning,
    {
        "prompt": Tuning(
            "the numbers of the prompt",
            PromptConfig,
            "trajtune.tunings.prompt:PromptPolicy",
            # Near the start, one step of Adam moves every number by this many deviations of the data.
            learning_rate=1e-2,
            needs=frozenset({"prompt"}),
        ),
        "adapter": Tuning(
            "low-rank adapters in every block (LoRA, or any PEFT method)",
            AdapterConfig,
            "trajtune.tunings.adapter:AdapterPolicy",
            learning_rate=3e-3,
            needs=frozenset({"adapter_targets"}),
        ),
        "decorator": Tuning(
            "a residual network beside the frozen agent",
            DecoratorConfig,
            "trajtune.tunings.decorator:DecoratorPolicy",
            learning_rate=1e-3,
        ),
        "full": Tuning(
            "every parameter of the agent", FullConfig, "trajtune.tunings.full:FullPolicy", learning_rate=3e-4
        ),
    },
)


def tuning_config(name: str, options: Mapping[str, Any] | None = None) -> Any:
    """Return a tuning's config with some fields overridden; an unknown name or option is a ``UserError``."""
    return override(TUNINGS[name].config(), options or {}, f"tuning {name}")
