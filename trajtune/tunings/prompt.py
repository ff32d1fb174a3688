"""Prompt tuning: the numbers of the prompt move, the agent does not (paper, section 3.2)."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from trajtune.agents import PromptDT
from trajtune.policy import Plain, Policy, frozen, load_parameters
from trajtune.types import Batch, Prompt


@dataclass(frozen=True)
class PromptConfig:
    """Nothing to choose."""


class PromptPolicy(Policy):
    """A frozen agent under one prompt of its own, whatever the batch brings; the reference acts under its start.

    What moves are offsets from the sampled prompt in the agent's units: return-to-go over ``return_scale``,
    observations over ``observation_std``, actions as they are. So all three kinds of number have the same scale for
    the optimiser, an offset of zero is the sampled prompt to the bit, and weight decay pulls back to it. The result
    is a prompt in raw units: acting reads what training read. Nothing keeps its actions in the box: they are tokens
    here, never done. Timesteps stay, they choose rows of a table.
    """

    # Near the start, one step of Adam moves every number by this many deviations of the data. docs/tunings/prompt.md
    learning_rate = 1e-2

    def __init__(self, agent: PromptDT, prompt: Prompt, config: PromptConfig, std: float, seed: int) -> None:
        super().__init__(agent, std)
        self.agent = frozen(agent)
        for each in fields(Prompt):
            self.register_buffer(f"start_{each.name}", getattr(prompt, each.name)[:1].clone(), persistent=False)
        self.returns_to_go = nn.Parameter(torch.zeros_like(prompt.returns_to_go[0]))
        self.observations = nn.Parameter(torch.zeros_like(prompt.observations[0]))
        self.actions = nn.Parameter(torch.zeros_like(prompt.actions[0]))

    def start(self) -> Prompt:
        """The sampled prompt [1, P]."""
        return Prompt(**{each.name: getattr(self, f"start_{each.name}") for each in fields(Prompt)})

    def prompt(self) -> Prompt:
        """The prompt as it is now, [1, P], in raw units."""
        start = self.start()
        return Prompt(
            start.returns_to_go + self.returns_to_go * self.agent.return_scale,
            start.observations + self.observations * self.agent.observation_std,
            start.actions + self.actions,
            start.timesteps,
        )

    def forward(self, batch: Batch) -> Tensor:
        return self._under(self.prompt(), batch)

    def reference_mean(self, batch: Batch) -> Tensor:
        return self._under(self.start(), batch)

    def _under(self, prompt: Prompt, batch: Batch) -> Tensor:
        """Action means [B, K, A] of the windows behind one prompt [1, P]."""
        own = {each.name: getattr(prompt, each.name) for each in fields(Prompt)}
        size = len(batch.window.mask)
        # Contiguous as a drawn prompt is: other strides can take other kernels, which round differently.
        same = Prompt(**{name: t.expand(size, *t.shape[1:]).contiguous() for name, t in own.items()})
        mean: Tensor = self.agent(Batch(same, batch.window))
        return mean

    def trainable(self) -> dict[str, nn.Parameter]:
        return {"returns_to_go": self.returns_to_go, "observations": self.observations, "actions": self.actions}

    def delta(self) -> dict[str, Tensor]:
        """The offsets; what they are offsets from is the first of the task's prompts, saved beside them."""
        return {name: parameter.detach() for name, parameter in self.trainable().items()}

    def load_delta(self, delta: Mapping[str, Tensor]) -> None:
        load_parameters(self.trainable(), delta, complete=True)

    @torch.no_grad()
    def plain(self) -> Plain:
        return Plain(frozen(self.agent), self.prompt())
