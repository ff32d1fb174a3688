"""An agent without attention and without a prompt: one perceptron over the last K steps, applied at every step."""

import torch
from torch import Tensor, nn

from trajtune.agents.base import Agent
from trajtune.types import Batch
from trajtune_window_mlp import WindowMLPConfig


class WindowMLP(Agent):
    """Return-to-go, state and previous action of each of the last K steps, flattened, give the action.

    What lies before a window is unknown; every step has a one beside its numbers, so that it differs from a state of
    zeros. The actor is the plain one, which runs ``forward`` over the whole window.
    """

    kind = "window-mlp"
    adapter_targets = ("inner", "middle")
    spec: WindowMLPConfig

    def __init__(self, spec: WindowMLPConfig) -> None:
        super().__init__()
        self.spec = spec
        step = 1 + 1 + 1 + spec.observation_dim + spec.action_dim
        self.inner = nn.Linear(spec.window * step, spec.hidden)
        self.middle = nn.Linear(spec.hidden, spec.hidden)
        self.outer = nn.Linear(spec.hidden, spec.action_dim)
        self.register_buffer("observation_mean", torch.zeros(spec.observation_dim))
        self.register_buffer("observation_std", torch.ones(spec.observation_dim))
        self.register_buffer("return_scale", torch.ones(()))

    def initialise(self, generator: torch.Generator) -> None:
        """Uniform within 1/sqrt(fan in), as ``nn.Linear`` has it."""
        with torch.no_grad():
            for layer in (self.inner, self.middle, self.outer):
                for parameter in layer.parameters():
                    bound = layer.in_features**-0.5
                    parameter.uniform_(-bound, bound, generator=generator)

    def forward(self, batch: Batch) -> Tensor:
        """[B, K, A] in [-1, 1]. Step k sees steps 0 to k and no action but those before it; padding comes after."""
        w, k = batch.window, self.spec.window
        before = torch.cat([torch.zeros_like(w.actions[:, :1]), w.actions[:, :-1]], dim=1)
        time = w.timesteps.float() / self.spec.max_timesteps
        numbers = torch.stack([torch.ones_like(time), time, w.returns_to_go / self.return_scale], dim=-1)
        steps = torch.cat([numbers, self.normalise(w.observations), before], dim=-1)  # [B, K, F]
        room = torch.cat([torch.zeros_like(steps[:, :1]).expand(-1, k - 1, -1), steps], dim=1)
        seen = room.unfold(1, k, 1).flatten(2)  # [B, K, F * window]
        hidden = torch.relu(self.middle(torch.relu(self.inner(seen))))
        return torch.tanh(self.outer(hidden).float())
