"""Adapter tuning: LoRA (or any other PEFT method) on every linear map of every block (paper, section 3.2)."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trajtune.agents import PromptDT
from trajtune.errors import UserError
from trajtune.files import write_json
from trajtune.policy import Plain, Policy, frozen
from trajtune.types import Batch, Prompt

TARGETS = ("qkv", "out", "up", "down")

DEFAULTS: dict[str, dict[str, Any]] = {
    "LORA": {"r": 8, "lora_alpha": 8},
    # Liu et al. (2022) scale keys, values and what enters the MLP's second map; our queries share a map with the keys.
    "IA3": {"target_modules": ["qkv", "down"], "feedforward_modules": ["down"]},
}
"""What a method takes unless told otherwise, besides ``target_modules``: all four maps of a block."""


@dataclass(frozen=True)
class AdapterConfig:
    """A PEFT method and its options. LoRA of rank 8 on all four maps gives the paper's 0.19 MB (FACTS section 1)."""

    method: str = "LORA"
    options: dict[str, Any] = field(default_factory=dict)
    """Options of PEFT's config of that method, put over ``DEFAULTS``: ``{"use_dora": true}`` leaves the rank at 8."""


class AdapterPolicy(Policy):
    """A frozen agent with adapters in its blocks; switched off, they leave the reference."""

    learning_rate = 1e-3
    delta_file = "adapter_model.safetensors"

    def __init__(self, agent: PromptDT, prompt: Prompt, config: AdapterConfig, std: float, seed: int) -> None:
        super().__init__(agent, std)
        import peft

        if config.method not in peft.PEFT_TYPE_TO_CONFIG_MAPPING:
            raise UserError(f"unknown PEFT method {config.method!r}: choose one such as LORA, IA3, LOHA, VERA")
        try:
            options = {"target_modules": list(TARGETS), **DEFAULTS.get(config.method, {}), **config.options}
            peft_config = peft.PEFT_TYPE_TO_CONFIG_MAPPING[config.method](**options)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)  # PEFT draws initial weights from the global generator
                self.peft = peft.get_peft_model(copy.deepcopy(agent).requires_grad_(False), peft_config)
        except (TypeError, ValueError) as error:
            raise UserError(f"PEFT method {config.method} does not take these options: {error}") from None
        for module in self.peft.modules():
            if hasattr(module, "cast_input_dtype_enabled"):  # PEFT's cast to float32, which autocast would undo
                module.cast_input_dtype_enabled = False
        self.eval()

    @property
    def agent(self) -> PromptDT:
        """The agent with its adapters."""
        agent: PromptDT = self.peft.base_model.model
        return agent

    def forward(self, batch: Batch) -> Tensor:
        mean: Tensor = self.agent(batch)
        return mean

    def reference_mean(self, batch: Batch) -> Tensor:
        with self.peft.disable_adapter():
            return self(batch)

    def trainable(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def delta(self) -> dict[str, Tensor]:
        """In PEFT's own names, so that plain ``peft`` loads the file."""
        import peft

        return {name: t.detach() for name, t in peft.get_peft_model_state_dict(self.peft).items()}

    def load_delta(self, delta: Mapping[str, Tensor]) -> None:
        import peft

        expected = self.delta()
        if delta.keys() != expected.keys():
            raise KeyError(f"its adapters are not those of this configuration ({len(delta)} of {len(expected)})")
        for name, tensor in delta.items():
            if tensor.shape != expected[name].shape:
                raise ValueError(f"{name} is {tuple(tensor.shape)}, expected {tuple(expected[name].shape)}")
        peft.set_peft_model_state_dict(self.peft, dict(delta))

    def save_extra(self, folder: Path) -> None:
        """Write PEFT's ``adapter_config.json``."""
        values = self.peft.peft_config["default"].to_dict()
        plain = {name: sorted(value) if isinstance(value, set) else value for name, value in values.items()}
        write_json(folder / "adapter_config.json", plain)  # PEFT itself writes its sets in the order of their hashes

    def plain(self) -> Plain:
        """The adapters merged into a copy of the agent's weights: the same actions within rounding."""
        return Plain(frozen(copy.deepcopy(self.peft).merge_and_unload()))
