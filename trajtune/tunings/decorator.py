"""Decorator tuning: a residual policy learns on top of a frozen base (paper, section 3.2; Yuan et al., 2024)."""

import dataclasses
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trajtune.agents.base import Actor, Agent
from trajtune.compute.tensors import load_into
from trajtune.policy import B, Policy, frozen
from trajtune.seeds import torch_stream
from trajtune.tunings.configs import DecoratorConfig
from trajtune.types import Batch, Prompt


class DecoratorPolicy(Policy):
    """clip(base(history) + residual(s), -1, 1). The residual sees the normalised state alone and starts at zero."""

    def __init__(self, agent: Agent, prompt: Prompt | None, config: DecoratorConfig, std: float, seed: int) -> None:
        super().__init__(agent, std)
        self.base = frozen(agent)
        self.residual = residual_mlp(agent.spec.observation_dim, agent.spec.action_dim, config.hidden, seed)

    @staticmethod
    def size(agent: Agent, config: DecoratorConfig) -> int:
        s, a, h = agent.spec.observation_dim, agent.spec.action_dim, config.hidden
        return (s + 1) * h + 2 * (h + 1) * h + (h + 1) * a

    def forward(self, batch: Batch) -> Tensor:
        change = self.residual(self.normalise(batch.window.observations))
        return into_box(self.reference_mean(batch) + change.float())

    def reference_mean(self, batch: Batch) -> Tensor:
        if batch.reference is not None:
            return batch.reference
        with torch.no_grad():
            mean: Tensor = self.base(batch)
        return mean

    def prepare(self, batch: B) -> B:
        """The base's means, once a step: the policy, its reference and its target share them.

        They are not kept from step to step: prompts are drawn with the windows, so no pair comes again
        (docs/tunings/decorator.md has the numbers).
        """
        return dataclasses.replace(batch, reference=self.reference_mean(batch))

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
        load_into(dict(self.residual.named_parameters()), delta, complete=True)

    def actor(self, prompts: Prompt | None, dtype: torch.dtype = torch.float32) -> Actor:
        return _DecoratedActor(self, self.base.actor(prompts, dtype))


class _DecoratedActor:
    """Adds the residual to what the base would do, and clips."""

    def __init__(self, policy: DecoratorPolicy, base: Actor) -> None:
        self._policy, self._base = policy, base

    @torch.inference_mode()
    def act(self, t: int, returns_to_go: Tensor, observations: Tensor, last_actions: Tensor | None) -> Tensor:
        actions = self._base.act(t, returns_to_go, observations, last_actions)
        change: Tensor = self._policy.residual(self._policy.normalise(observations))
        return (actions + change).clamp(-1.0, 1.0)


def residual_mlp(observation_dim: int, action_dim: int, hidden: int, seed: int) -> nn.Sequential:
    """Three hidden layers with ReLU, as in Yuan et al.'s code and in the trunk; the last layer is zero at the start.

    Weights are drawn by ``seed``, uniform within 1/sqrt(fan in) as ``nn.Linear`` has it.
    """
    generator = torch_stream(seed, "decorator")

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
