"""Prompt Decision Transformer, composed as FACTS section 1 pins it from the paper's parameter sizes."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trajtune.agents.base import Actor, Agent
from trajtune.agents.prompt_dt.actor import CachedActor
from trajtune.agents.prompt_dt.config import PromptDTConfig
from trajtune.agents.prompt_dt.transformer import Transformer
from trajtune.types import Batch, Prompt


class Predictions(NamedTuple):
    """What the three heads say at every step of a window."""

    actions: Tensor  # [B, K, A], from the state token
    states: Tensor  # [B, K, S], the next normalised state, from the action token
    returns: Tensor  # [B, K], the next return-to-go over ``return_scale``, from the action token


class Embeddings(nn.Module):
    """Embed return-to-go, state and action of each step, with its timestep added to all three."""

    def __init__(self, config: PromptDTConfig) -> None:
        super().__init__()
        self.returns = nn.Linear(1, config.width)
        self.states = nn.Linear(config.observation_dim, config.width)
        self.actions = nn.Linear(config.action_dim, config.width)
        self.timesteps = nn.Embedding(config.max_timesteps, config.width)

    def forward(self, returns: Tensor, states: Tensor, actions: Tensor, timesteps: Tensor) -> Tensor:
        """[B, K], [B, K, S], [B, K, A], [B, K] -> tokens [B, 3K, C] in the order return, state, action."""
        time = self.timesteps(timesteps)
        parts = (self.returns(returns.unsqueeze(-1)) + time, self.states(states) + time, self.actions(actions) + time)
        return torch.stack(parts, dim=2).flatten(1, 2)


class PromptDT(Agent):
    """Prompt and history tokens go through one causal transformer; the state token predicts its action.

    Takes raw observations and returns: the normaliser (``observation_mean``, ``observation_std`` [S],
    ``return_scale``) travels with the weights. One embedding LayerNorm serves prompt and history alike; Prompt-DT's
    code applies it to the history only, which leaves the prompt's scale to chance.
    """

    kind = "prompt-dt"
    adapter_targets = ("qkv", "out", "up", "down")
    spec: PromptDTConfig

    def __init__(self, spec: PromptDTConfig) -> None:
        super().__init__()
        self.spec = spec
        self.prompt_embeddings = Embeddings(spec) if spec.prompt else None
        self.history_embeddings = Embeddings(spec)
        self.embedding_norm = nn.LayerNorm(spec.width)
        self.transformer = Transformer(spec.layers, spec.width, spec.heads, spec.dropout)
        self.action_head = nn.Linear(spec.width, spec.action_dim)
        self.state_head = nn.Linear(spec.width, spec.observation_dim)
        self.return_head = nn.Linear(spec.width, 1)
        self.register_buffer("observation_mean", torch.zeros(spec.observation_dim))
        self.register_buffer("observation_std", torch.ones(spec.observation_dim))
        self.register_buffer("return_scale", torch.ones(()))

    def initialise(self, generator: torch.Generator) -> None:
        """N(0, 0.02) as GPT-2, residual projections scaled by depth, biases zero."""
        depth_scale = (2 * self.spec.layers) ** -0.5
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if parameter.dim() == 2:
                    residual = name.endswith(("attention.out.weight", "mlp.down.weight"))
                    parameter.normal_(0.0, 0.02 * (depth_scale if residual else 1.0), generator=generator)
                elif name.endswith("bias"):
                    parameter.zero_()

    def prompt_tokens(self, prompt: Prompt) -> Tensor:
        """[B, 3P, C], before the embedding norm."""
        assert self.prompt_embeddings is not None
        states = self.normalise(prompt.observations)
        tokens: Tensor = self.prompt_embeddings(
            prompt.returns_to_go / self.return_scale, states, prompt.actions, prompt.timesteps
        )
        return tokens

    def tokens(self, batch: Batch) -> Tensor:
        """[B, 3P + 3K, C]: the prompt, then the history, normed."""
        w = batch.window
        states = self.normalise(w.observations)
        tokens = self.history_embeddings(w.returns_to_go / self.return_scale, states, w.actions, w.timesteps)
        if batch.prompt is not None:
            tokens = torch.cat([self.prompt_tokens(batch.prompt), tokens], dim=1)
        return F.dropout(self.embedding_norm(tokens), self.spec.dropout, self.training)

    def forward(self, batch: Batch) -> Tensor:
        """Predict the action at every step of the window, [B, K, A] in [-1, 1] (a tanh mean).

        What follows the last state token influences no action and is not computed; nor is, in the last block,
        anything but the state tokens.
        """
        x = self.tokens(batch)[:, :-1]
        first = 0 if batch.prompt is None else 3 * batch.prompt.actions.shape[1]
        states = torch.arange(first + 1, x.shape[1], 3, device=x.device)
        return torch.tanh(self.action_head(self.transformer(x, states)).float())

    def predict(self, batch: Batch) -> Predictions:
        """Return what all three heads predict, computed in full."""
        first = 0 if batch.prompt is None else 3 * batch.prompt.actions.shape[1]
        hidden = self.transformer(self.tokens(batch))[:, first:]
        _, state, action = hidden.unflatten(1, (-1, 3)).unbind(2)
        return Predictions(
            torch.tanh(self.action_head(state).float()), self.state_head(action), self.return_head(action).squeeze(-1)
        )

    def actor(self, prompts: Prompt | None, dtype: torch.dtype = torch.float32) -> Actor:
        return CachedActor(self, prompts, dtype)
