"""What an agent is: a network that predicts actions over a window, and whoever acts with it.

The slow and exact actor here serves every agent; one that can do better gives its own (``prompt_dt/actor.py``).
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from trajtune.errors import UserError
from trajtune.types import Batch, Prompt, Window


class Spec(Protocol):
    """The sizes that everybody asks an agent for. An agent's config has them, beside what is its own."""

    @property
    def observation_dim(self) -> int: ...
    @property
    def action_dim(self) -> int: ...
    @property
    def window(self) -> int:
        """History length K in steps."""

    @property
    def prompt(self) -> int:
        """Prompt length K* in steps; 0 for an agent without a prompt."""

    @property
    def max_timesteps(self) -> int:
        """The longest episode it can act in."""


class Actor(Protocol):
    """Acts for B episodes in step: ``act`` once a time step, from 0 on."""

    def act(self, t: int, returns_to_go: Tensor, observations: Tensor, last_actions: Tensor | None) -> Tensor:
        """Return actions [B, A] in [-1, 1] for time step ``t``.

        ``returns_to_go`` [B] is still to be earned, ``observations`` [B, S] are raw, and ``last_actions`` [B, A] is
        what was done at ``t - 1`` (``None`` at the start). Past the agent's longest episode: a ``UserError``.
        """


class Agent(nn.Module, ABC):
    """A transformer over trajectories. It takes raw observations and returns: its normaliser travels with it."""

    kind: ClassVar[str]
    """Its name in the table of agents."""
    adapter_targets: ClassVar[tuple[str, ...]] = ()
    """Names of the linear maps that adapters go onto; none: adapters need ``target_modules``."""
    spec: Spec
    observation_mean: Tensor  # [S]
    observation_std: Tensor  # [S]
    return_scale: Tensor  # []

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Predict the action at every step of the windows, [B, K, A] in [-1, 1].

        What is predicted at step k may depend on what the batch holds up to the observation of step k, and on nothing
        later: the action of step k itself is there, and must not be seen.
        """

    @abstractmethod
    def initialise(self, generator: torch.Generator) -> None:
        """Draw all weights anew."""

    @property
    def device(self) -> torch.device:
        return self.observation_mean.device

    def normalise(self, observations: Tensor) -> Tensor:
        """Raw observations [..., S] to zero mean and unit deviation over the pretraining data."""
        return (observations - self.observation_mean) / self.observation_std

    def actor(self, prompts: Prompt | None, dtype: torch.dtype = torch.float32) -> Actor:
        """Return who acts under ``prompts`` [B, P], until the agent's weights move."""
        return PlainActor(self, prompts, dtype)


class PlainActor:
    """Runs the agent over the whole window at every step."""

    def __init__(self, agent: Any, prompts: Prompt | None, dtype: torch.dtype) -> None:
        self._agent, self._prompts, self._dtype = agent, prompts, dtype
        self._steps: list[tuple[Tensor, Tensor, Tensor]] = []  # return-to-go, observation, action

    @torch.no_grad()
    def act(self, t: int, returns_to_go: Tensor, observations: Tensor, last_actions: Tensor | None) -> Tensor:
        spec, device = self._agent.spec, observations.device
        check_timestep(t, spec)
        if last_actions is not None:
            self._steps[-1] = (*self._steps[-1][:2], last_actions.float())
        nothing = torch.zeros(len(observations), spec.action_dim, device=device)
        self._steps = [*self._steps, (returns_to_go, observations, nothing)][-spec.window :]
        steps = len(self._steps)
        every = torch.ones(len(observations), steps, dtype=torch.bool, device=device)
        times = torch.arange(t - steps + 1, t + 1, device=device).expand(len(observations), steps)
        window = Window(
            returns_to_go=torch.stack([step[0] for step in self._steps], 1),
            observations=torch.stack([step[1] for step in self._steps], 1),
            actions=torch.stack([step[2] for step in self._steps], 1),
            rewards=torch.zeros(len(observations), steps, device=device),
            timesteps=times,
            terminals=~every,
            mask=every,
            present=every,
            index=torch.zeros_like(times),
        )
        with torch.autocast(observations.device.type, self._dtype, enabled=self._dtype != torch.float32):
            mean: Tensor = self._agent(Batch(self._prompts, window))
        return mean[:, -1].float()


def check_timestep(t: int, spec: Spec) -> None:
    """Raise a ``UserError`` past the longest episode that an agent knows."""
    if t >= spec.max_timesteps:
        raise UserError(f"the agent knows {spec.max_timesteps} time steps and is asked to act at step {t + 1}")
