"""Prompt tuning: the numbers of the prompt move, the agent does not (paper, section 3.2)."""

from collections.abc import Mapping
from dataclasses import fields, replace

import torch
from torch import Tensor, nn

from trajtune.agents.base import Actor, Agent
from trajtune.compute.tensors import load_into
from trajtune.errors import UserError
from trajtune.policy import Policy, frozen
from trajtune.tunings.configs import PromptConfig
from trajtune.types import Batch, Prompt


class PromptPolicy(Policy):
    """A frozen agent under one prompt of its own, whatever the batch brings; the reference acts under its start.

    What moves are offsets from the sampled prompt in the agent's units: return-to-go over ``return_scale``,
    observations over ``observation_std``, actions as they are. So all three kinds of number have the same scale for
    the optimiser, an offset of zero is the sampled prompt to the bit, and weight decay pulls back to it. The result
    is a prompt in raw units: acting reads what training read. Nothing keeps its actions in the box: they are tokens
    here, never done. Timesteps stay, they choose rows of a table.
    """

    def __init__(self, agent: Agent, prompt: Prompt | None, config: PromptConfig, std: float, seed: int) -> None:
        super().__init__(agent, std)
        if prompt is None:
            raise UserError("tuning prompt needs a prompt of the task to start from")
        self.agent = frozen(agent)
        for each in fields(Prompt):
            self.register_buffer(f"start_{each.name}", getattr(prompt, each.name)[:1].clone(), persistent=False)
        self.returns_to_go = nn.Parameter(torch.zeros_like(prompt.returns_to_go[0]))
        self.observations = nn.Parameter(torch.zeros_like(prompt.observations[0]))
        self.actions = nn.Parameter(torch.zeros_like(prompt.actions[0]))

    @staticmethod
    def size(agent: Agent, config: PromptConfig) -> int:
        """Return-to-go, observation and action of each step.

        The paper counts reward, timestep and mask too (FACTS section 1), which cannot be learned.
        """
        return agent.spec.prompt * (1 + agent.spec.observation_dim + agent.spec.action_dim)

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
        return self._under(self.start(), batch) if batch.reference is None else batch.reference

    def _under(self, prompt: Prompt, batch: Batch) -> Tensor:
        """Action means [B, K, A] of the windows behind one prompt [1, P]."""
        mean: Tensor = self.agent(replace(batch, prompt=_repeated(prompt, len(batch.window.mask))))
        return mean

    def trainable(self) -> dict[str, nn.Parameter]:
        return {"returns_to_go": self.returns_to_go, "observations": self.observations, "actions": self.actions}

    def delta(self) -> dict[str, Tensor]:
        """The offsets; what they are offsets from is the first of the task's prompts, saved beside them."""
        return {name: parameter.detach() for name, parameter in self.trainable().items()}

    def load_delta(self, delta: Mapping[str, Tensor]) -> None:
        load_into(self.trainable(), delta, complete=True)

    @torch.no_grad()
    def actor(self, prompts: Prompt | None, dtype: torch.dtype = torch.float32) -> Actor:
        """Whatever prompts are handed in, this policy acts under its own."""
        return self.agent.actor(_repeated(self.prompt(), 1 if prompts is None else len(prompts)), dtype)


def _repeated(prompt: Prompt, times: int) -> Prompt:
    """One prompt [1, P] as [B, P].

    Contiguous as a drawn prompt is: other strides can take other kernels, which round differently.
    """
    own = {each.name: getattr(prompt, each.name) for each in fields(Prompt)}
    return Prompt(**{name: t.expand(times, *t.shape[1:]).contiguous() for name, t in own.items()})
