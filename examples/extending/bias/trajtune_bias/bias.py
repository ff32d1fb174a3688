"""BitFit (Ben Zaken et al. 2022): the biases move, every weight stays."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trajtune.agents.base import Actor, Agent
from trajtune.compute.tensors import load_into
from trajtune.errors import UserError
from trajtune.policy import Policy, frozen
from trajtune.types import Batch, Prompt
from trajtune_bias import BiasConfig


def movable(agent: nn.Module, config: BiasConfig) -> list[str]:
    """Return the names of the parameters that move, in the order in which the agent has them."""
    gains = {f"{n}.weight" for n, m in agent.named_modules() if config.norms and isinstance(m, nn.LayerNorm)}
    return [n for n, _ in agent.named_parameters() if n in gains or n.rpartition(".")[2] == "bias"]


class BiasPolicy(Policy):
    """A copy of the agent of which only the biases move; the agent itself is the reference."""

    def __init__(self, agent: Agent, prompt: Prompt | None, config: BiasConfig, std: float, seed: int) -> None:
        super().__init__(agent, std)
        self._moving = movable(agent, config)
        if not self._moving:
            raise UserError(f"tuning bias needs biases, which this {agent.kind} agent has not")
        self.base = frozen(agent)
        self.agent = copy.deepcopy(agent).requires_grad_(False).eval()
        for name in self._moving:
            self.agent.get_parameter(name).requires_grad_(True)

    @staticmethod
    def size(agent: Agent, config: BiasConfig) -> int:
        return sum(agent.get_parameter(name).numel() for name in movable(agent, config))

    def forward(self, batch: Batch) -> Tensor:
        mean: Tensor = self.agent(batch)
        return mean

    def reference_mean(self, batch: Batch) -> Tensor:
        mean: Tensor = self.base(batch) if batch.reference is None else batch.reference
        return mean

    def trainable(self) -> dict[str, nn.Parameter]:
        return {f"agent.{name}": parameter for name, parameter in self._parameters_that_move().items()}

    def _parameters_that_move(self) -> dict[str, nn.Parameter]:
        # Not ``get_parameter``: where policies are stacked, what stands here for a while is no nn.Parameter.
        parameters = dict(self.agent.named_parameters())
        return {name: parameters[name] for name in self._moving}

    def delta(self) -> dict[str, Tensor]:
        return {name: parameter.detach() for name, parameter in self._parameters_that_move().items()}

    def load_delta(self, delta: Mapping[str, Tensor]) -> None:
        load_into(self._parameters_that_move(), delta, complete=True)

    def actor(self, prompts: Prompt | None, dtype: torch.dtype = torch.float32) -> Actor:
        return self.agent.actor(prompts, dtype)

    def merged(self) -> Agent:
        return frozen(self.agent)
