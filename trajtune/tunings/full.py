"""Full-model tuning: every parameter of the agent moves (paper, section 3.2)."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from trajtune.agents import PromptDT
from trajtune.policy import Plain, Policy, frozen, load_parameters
from trajtune.types import Batch, Prompt


@dataclass(frozen=True)
class FullConfig:
    """Nothing to choose."""


class FullPolicy(Policy):
    """A copy of the agent, trained in full; the agent itself is the reference."""

    learning_rate = 1e-4

    def __init__(self, agent: PromptDT, prompt: Prompt, config: FullConfig, std: float, seed: int) -> None:
        super().__init__(agent, std)
        self.base = frozen(agent)
        self.agent = copy.deepcopy(agent).requires_grad_(True).eval()

    def forward(self, batch: Batch) -> Tensor:
        mean: Tensor = self.agent(batch)
        return mean

    def reference_mean(self, batch: Batch) -> Tensor:
        mean: Tensor = self.base(batch)
        return mean

    def trainable(self) -> dict[str, nn.Parameter]:
        return {f"agent.{name}": parameter for name, parameter in self.agent.named_parameters()}

    def delta(self) -> dict[str, Tensor]:
        """The parameters whose values differ from the base's: heads that no loss reaches are not stored."""
        before = dict(self.base.named_parameters())
        return {n: p.detach() for n, p in self.agent.named_parameters() if not p.equal(before[n])}

    def load_delta(self, delta: Mapping[str, Tensor]) -> None:
        load_parameters(dict(self.agent.named_parameters()), delta)

    def plain(self) -> Plain:
        return Plain(frozen(self.agent))
