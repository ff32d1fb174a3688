"""The options of every tuning, without torch: what the command line and a study check before anything runs."""

from dataclasses import dataclass, field
from typing import Any

from trajtune.errors import UserError


@dataclass(frozen=True)
class PromptConfig:
    """Nothing to choose."""


@dataclass(frozen=True)
class AdapterConfig:
    """A PEFT method and its options. LoRA of rank 8 on all four maps gives the paper's 0.19 MB (FACTS section 1)."""

    method: str = "LORA"
    options: dict[str, Any] = field(default_factory=dict)
    """Options of PEFT's config of that method, put over our defaults: ``{"use_dora": true}`` leaves the rank at 8."""


@dataclass(frozen=True)
class DecoratorConfig:
    """The residual's size. Three hidden layers of 256 give the paper's 0.54 MB (FACTS section 1)."""

    hidden: int = 256

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise UserError(f"tuning decorator: hidden must be at least 1, got {self.hidden}")


@dataclass(frozen=True)
class FullConfig:
    """Nothing to choose."""
