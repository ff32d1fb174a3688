"""Decorator tuning: a residual policy learns on top of a frozen base (paper, section 3.2; Yuan et al., 2024)."""

import copy
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trajtune.agents import PromptDT
from trajtune.errors import UserError
from trajtune.policy import Plain, Policy, frozen, load_parameters
from trajtune.types import Batch, Prompt


@dataclass(frozen=True)
class DecoratorConfig:
    """The residual's size. Three hidden layers of 256 give the paper's 0.54 MB (FACTS section 1)."""

    hidden: int = 256

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise UserError(f"tuning decorator: hidden must be at least 1, got {self.hidden}")


class DecoratorPolicy(Policy):
    """clip(base(history) + residual(s), -1, 1). The residual sees the normalised state alone and starts at zero."""

    learning_rate = 3e-4

    def __init__(self, agent: PromptDT, prompt: Prompt, config: DecoratorConfig, std: float, seed: int) -> None:
        super().__init__(agent, std)
        self.base = frozen(agent)
        self.residual = residual_mlp(agent.config.observation_dim, agent.config.action_dim, config.hidden, seed)
        self._last: tuple[Batch, object, Tensor] | None = None

    def forward(self, batch: Batch) -> Tensor:
        change = self.residual(self.normalise(batch.window.observations))
        return into_box(self.base_mean(batch) + change.float())

    def reference_mean(self, batch: Batch) -> Tensor:
        return self.base_mean(batch)

    def base_mean(self, batch: Batch) -> Tensor:
        """The base's means [B, K, A], without gradient.

        Computed once a batch: the policy, its reference and its target (``mean_with``) share them in a step. They
        are not kept from step to step: prompts are drawn with the windows, so no pair comes again
        (docs/tunings/decorator.md has the numbers).
        """
        device = batch.window.actions.device.type
        precision = torch.amp.is_autocast_available(device) and (
            torch.is_autocast_enabled(device),
            torch.get_autocast_dtype(device),
        )
        if self._last is None or self._last[0] is not batch or self._last[1] != precision:
            with torch.no_grad():
                self._last = (batch, precision, self.base(batch))
        return self._last[2]

    def train(self, mode: bool = True) -> "DecoratorPolicy":
        """Training mode never reaches the base: it is done learning, and dropout would make it another function."""
        super().train(mode)
        self.base.eval()
        return self

    def trainable(self) -> dict[str, nn.Parameter]:
        return {f"residual.{name}": parameter for name, parameter in self.residual.named_parameters()}

    def delta(self) -> dict[str, Tensor]:
        """The residual: of it, everything moves."""
        return {name: parameter.detach() for name, parameter in self.residual.named_parameters()}

    def load_delta(self, delta: Mapping[str, Tensor]) -> None:
        load_parameters(dict(self.residual.named_parameters()), delta, complete=True)

    def plain(self) -> Plain:
        return Plain(frozen(self.base), residual=copy.deepcopy(self.residual).requires_grad_(False))


def residual_mlp(observation_dim: int, action_dim: int, hidden: int, seed: int) -> nn.Sequential:
    """Three hidden layers with ReLU, as in Yuan et al.'s code and in the trunk; the last layer is zero at the start.

    Weights are drawn by ``seed``, uniform within 1/sqrt(fan in) as ``nn.Linear`` has it.
    """
    generator = torch.Generator().manual_seed(seed)

    def linear(inputs: int, outputs: int, bound: float) -> nn.Module:
        layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.uniform_(-bound, bound, generator=generator)
        return layer

    layers: OrderedDict[str, nn.Module] = OrderedDict()
    size = observation_dim
    for name in ("hidden1", "hidden2", "hidden3"):
        layers[name] = linear(size, hidden, size**-0.5)
        layers[f"{name}_relu"] = nn.ReLU()
        size = hidden
    layers["out"] = linear(size, action_dim, 0.0)
    return nn.Sequential(layers)


def into_box(actions: Tensor) -> Tensor:
    """Clip to [-1, 1]; beyond the edge, only a gradient that leads back in passes.

    A plain clamp has no gradient out there, so a residual that has overshot would never return. Straight-through has
    one both ways, so a Q term would push it out for ever, and the way back would grow. This is projected descent.
    """
    clipped: Tensor = _IntoBox.apply(actions)  # type: ignore[no-untyped-call]
    return clipped


class _IntoBox(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(actions: Tensor) -> Tensor:
        return actions.clamp(-1.0, 1.0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (actions,) = ctx.saved_tensors
        leads_further_out = (actions.abs() > 1.0) & (actions * gradient < 0.0)  # descent steps against the gradient
        return gradient.masked_fill(leads_further_out, 0.0)
