"""Adapter tuning: LoRA (or any other PEFT method) on every linear map of every block (paper, section 3.2)."""

import copy
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trajtune.agents.base import Actor, Agent
from trajtune.errors import UserError
from trajtune.files import write_json
from trajtune.policy import Policy, frozen
from trajtune.seeds import number
from trajtune.tunings.configs import AdapterConfig
from trajtune.types import Batch, Prompt

DEFAULTS: dict[str, dict[str, Any]] = {
    "LORA": {"r": 8, "lora_alpha": 8},
    # Liu et al. (2022) scale keys, values and what enters the MLP's second map; our queries share a map with the keys.
    "IA3": {"target_modules": ["qkv", "down"], "feedforward_modules": ["down"]},
}
"""What a method takes unless told otherwise, besides ``target_modules``: the agent's ``adapter_targets``."""

EVA = "eva"
"""What ``init_lora_weights`` is called with an initialisation from the data (Paischer et al. 2024)."""
EVA_DEFAULTS = {"rho": 1.0, "use_label_mask": False}
"""No rank wanders from one map to another: the size stays the paper's."""


class AdapterPolicy(Policy):
    """A frozen agent with adapters in its blocks; the agent itself is the reference."""

    delta_file = "adapter_model.safetensors"

    def __init__(self, agent: Agent, prompt: Prompt | None, config: AdapterConfig, std: float, seed: int) -> None:
        super().__init__(agent, std)
        import peft

        # Not PEFT's ``disable_adapter``: it flips switches, so a policy would be no function of its tensors.
        self.base = frozen(agent)
        if config.method not in peft.PEFT_TYPE_TO_CONFIG_MAPPING:
            raise UserError(f"unknown PEFT method {config.method!r}: choose one such as LORA, IA3, LOHA, VERA")
        try:
            options = {
                "target_modules": list(agent.adapter_targets),
                **DEFAULTS.get(config.method, {}),
                **config.options,
            }
            if options.get("init_lora_weights") == EVA:
                options["eva_config"] = peft.EvaConfig(**{**EVA_DEFAULTS, **options.get("eva_config", {})})
                if options["eva_config"].rho != 1.0:
                    raise UserError("eva_config: rho must be 1: what a delta has in it is decided before data are seen")
            peft_config = peft.PEFT_TYPE_TO_CONFIG_MAPPING[config.method](**options)
            with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="lora with eva initialization used with low_cpu_mem_usage")
                torch.manual_seed(number(seed, "adapter"))  # PEFT draws initial weights from the global generator
                self.peft = peft.get_peft_model(copy.deepcopy(agent).requires_grad_(False), peft_config)
        except (TypeError, ValueError) as error:
            raise UserError(f"PEFT method {config.method} does not take these options: {error}") from None
        for module in self.peft.modules():
            if hasattr(module, "cast_input_dtype_enabled"):  # PEFT's cast to float32, which autocast would undo
                module.cast_input_dtype_enabled = False
        self._seed, self._eva = seed, options.get("init_lora_weights") == EVA
        self._plain = self._plain_maps(peft_config)
        self._moving = tuple(name for name, p in self.named_parameters() if p.requires_grad)
        self.eval()

    @staticmethod
    def size(agent: Agent, config: AdapterConfig) -> int:
        """LoRA: r (in + out) numbers a map; any other method is asked by building it."""
        options = {**DEFAULTS.get(config.method, {}), **config.options}
        if config.method == "LORA" and options.keys() == {"r", "lora_alpha"}:
            maps = [m for n, m in agent.named_modules() if n.rpartition(".")[2] in agent.adapter_targets]
            return sum(options["r"] * (m.in_features + m.out_features) for m in maps)
        policy = AdapterPolicy(agent, None, config, 1.0, 0)
        return sum(parameter.numel() for parameter in policy.trainable().values())

    def _plain_maps(self, config: Any) -> tuple[str, ...]:
        """Names of the maps whose adapter is a sum of weights and nothing else; none, if one is anything else."""
        from peft.tuners.lora import Linear

        adapted = {n: m for n, m in self.agent.named_modules() if hasattr(m, "get_base_layer")}
        dropout, biases = getattr(config, "lora_dropout", 0.0), getattr(config, "lora_bias", False)
        plain = not dropout and not biases and all(type(m) is Linear and not m.lora_variant for m in adapted.values())
        return tuple(adapted) if plain and config.bias == "none" else ()

    @property
    def agent(self) -> Agent:
        """The agent with its adapters."""
        agent: Agent = self.peft.base_model.model
        return agent

    def initialise(self, batches: Iterable[Batch]) -> None:
        """With ``init_lora_weights`` "eva": LoRA's A spans the directions in which each map's inputs vary most.

        Paischer et al. (2024), by PEFT's own code; B stays zero. Only windows without padding are looked at, where
        there are any.
        """
        if not self._eva:
            return
        import peft

        def full(batch: Batch, config: Any) -> Tensor:
            rows = batch.window.mask.all(1)
            return rows if bool(rows.any()) else torch.ones_like(rows)

        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of layers that have no EVA: there are none
            torch.manual_seed(number(self._seed, "eva"))
            peft.initialize_lora_eva_weights(
                self.peft,
                dataloader=[batch.to(self.device) for batch in batches],
                forward_fn=lambda model, batch: self.agent(batch),
                prepare_model_inputs_fn=full,
                prepare_layer_inputs_fn=lambda given, rows, name: given[0][rows].flatten(0, -2),
                show_progress_bar=False,
            )
        self.eval()

    def forward(self, batch: Batch) -> Tensor:
        """Plain LoRA is added to the weights once a step, not to every token: the same but for rounding, and faster."""
        if not self._plain:
            mean: Tensor = self.agent(batch)
            return mean
        mean = torch.func.functional_call(self.base, self.summed(), (batch,))
        return mean

    def summed(self) -> dict[str, Tensor]:
        """W + scale * B A of every adapted map, by the names of the agent."""
        maps: dict[str, Any] = {name: self.agent.get_submodule(name) for name in self._plain}
        return {f"{n}.weight": m.get_base_layer().weight + m.get_delta_weight("default") for n, m in maps.items()}

    def reference_mean(self, batch: Batch) -> Tensor:
        mean: Tensor = self.base(batch) if batch.reference is None else batch.reference
        return mean

    def trainable(self) -> dict[str, nn.Parameter]:
        parameters = dict(self.named_parameters())
        return {name: parameters[name] for name in self._moving}

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
            if not bool(tensor.isfinite().all()):
                raise ValueError(f"{name} has a number that is not finite")
        peft.set_peft_model_state_dict(self.peft, dict(delta))

    def save_extra(self, folder: Path) -> list[str]:
        """Write PEFT's ``adapter_config.json``."""
        values = self.peft.peft_config["default"].to_dict()
        plain = {name: sorted(value) if isinstance(value, set) else value for name, value in values.items()}
        write_json(folder / "adapter_config.json", plain)  # PEFT itself writes its sets in the order of their hashes
        return ["adapter_config.json"]

    def actor(self, prompts: Prompt | None, dtype: torch.dtype = torch.float32) -> Actor:
        return self.merged().actor(prompts, dtype)

    def merged(self) -> Agent:
        """The adapters merged into a copy of the agent's weights: the same actions within rounding."""
        agent: Agent = copy.deepcopy(self.peft).merge_and_unload()
        return agent.requires_grad_(False).eval()
