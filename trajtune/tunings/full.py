"""Full-model tuning: every parameter of the agent moves (paper, section 3.2)."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trajtune.agents.base import Actor, Agent
from trajtune.compute.tensors import load_into
from trajtune.policy import Policy, frozen
from trajtune.tunings.configs import FullConfig
from trajtune.types import Batch, Prompt


class FullPolicy(Policy):
    """A copy of the agent, trained in full; the agent itself is the reference."""

    def __init__(self, agent: Agent, prompt: Prompt | None, config: FullConfig, std: float, seed: int) -> None:
        super().__init__(agent, std)
        self.base = frozen(agent)
        self.agent = copy.deepcopy(agent).requires_grad_(True).eval()

    @staticmethod
    def size(agent: Agent, config: FullConfig) -> int:
        return sum(parameter.numel() for parameter in agent.parameters())

    def forward(self, batch: Batch) -> Tensor:
        mean: Tensor = self.agent(batch)
        return mean

    def reference_mean(self, batch: Batch) -> Tensor:
        mean: Tensor = self.base(batch) if batch.reference is None else batch.reference
        return mean

    def trainable(self) -> dict[str, nn.Parameter]:
        return {f"agent.{name}": parameter for name, parameter in self.agent.named_parameters()}

    def delta(self) -> dict[str, Tensor]:
        """The parameters whose values differ from the base's: heads that no loss reaches are not stored."""
        before = dict(self.base.named_parameters())
        return {n: p.detach() for n, p in self.agent.named_parameters() if not p.equal(before[n])}

    def load_delta(self, delta: Mapping[str, Tensor]) -> None:
        load_into(dict(self.agent.named_parameters()), delta)

    def actor(self, prompts: Prompt | None, dtype: torch.dtype = torch.float32) -> Actor:
        return self.agent.actor(prompts, dtype)

    def merged(self) -> Agent:
        return frozen(self.agent)
