"""Prompt Decision Transformer, composed as FACTS section 1 pins it from the paper's parameter sizes."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trajtune.agents.transformer import Transformer
from trajtune.errors import UserError
from trajtune.types import Batch, Prompt


@dataclass(frozen=True)
class AgentConfig:
    """The size of an agent. (layers, width, heads) goes from (3, 128, 1) to (48, 256, 16) in the paper."""

    observation_dim: int
    action_dim: int
    layers: int = 3
    width: int = 128
    heads: int = 1
    window: int = 20
    """History length K in steps."""
    prompt: int = 5
    """Prompt length K* in steps."""
    max_timesteps: int = 200
    dropout: float = 0.1
    """Used in pretraining; finetuning and acting run without."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name != "dropout" and (not isinstance(value, int) or value < 1):
                raise UserError(f"an agent's {name} must be a positive whole number, got {value!r}")
        if self.width % self.heads:
            raise UserError(f"an agent's width ({self.width}) must be a multiple of its heads ({self.heads})")
        if not 0.0 <= self.dropout < 1.0:
            raise UserError(f"an agent's dropout must be in [0, 1), got {self.dropout}")


class Predictions(NamedTuple):
    """What the three heads say at every step of a window."""

    actions: Tensor  # [B, K, A], from the state token
    states: Tensor  # [B, K, S], the next normalised state, from the action token
    returns: Tensor  # [B, K], the next return-to-go over ``return_scale``, from the action token


class Embeddings(nn.Module):
    """Embed return-to-go, state and action of each step, with its timestep added to all three."""

    def __init__(self, config: AgentConfig) -> None:
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


class PromptDT(nn.Module):
    """Prompt and history tokens go through one causal transformer; the state token predicts its action.

    Takes raw observations and returns: the normaliser (``observation_mean``, ``observation_std`` [S],
    ``return_scale``) travels with the weights. One embedding LayerNorm serves prompt and history alike; Prompt-DT's
    code applies it to the history only, which leaves the prompt's scale to chance.
    """

    observation_mean: Tensor
    observation_std: Tensor
    return_scale: Tensor

    def __init__(self, config: AgentConfig) -> None:
        super().__init__()
        self.config = config
        self.prompt_embeddings = Embeddings(config)
        self.history_embeddings = Embeddings(config)
        self.embedding_norm = nn.LayerNorm(config.width)
        self.transformer = Transformer(config.layers, config.width, config.heads, config.dropout)
        self.action_head = nn.Linear(config.width, config.action_dim)
        self.state_head = nn.Linear(config.width, config.observation_dim)
        self.return_head = nn.Linear(config.width, 1)
        self.register_buffer("observation_mean", torch.zeros(config.observation_dim))
        self.register_buffer("observation_std", torch.ones(config.observation_dim))
        self.register_buffer("return_scale", torch.ones(()))

    def normalise(self, observations: Tensor) -> Tensor:
        """Raw observations [..., S] to zero mean and unit deviation over the pretraining data."""
        return (observations - self.observation_mean) / self.observation_std

    def prompt_tokens(self, prompt: Prompt) -> Tensor:
        """[B, 3P, C], before the embedding norm."""
        states = self.normalise(prompt.observations)
        tokens: Tensor = self.prompt_embeddings(
            prompt.returns_to_go / self.return_scale, states, prompt.actions, prompt.timesteps
        )
        return tokens

    def tokens(self, batch: Batch) -> Tensor:
        """[B, 3P + 3K, C]: the prompt, then the history, normed."""
        w = batch.window
        states = self.normalise(w.observations)
        history = self.history_embeddings(w.returns_to_go / self.return_scale, states, w.actions, w.timesteps)
        x = self.embedding_norm(torch.cat([self.prompt_tokens(batch.prompt), history], dim=1))
        return F.dropout(x, self.config.dropout, self.training)

    def forward(self, batch: Batch) -> Tensor:
        """Predict the action at every step of the window, [B, K, A] in [-1, 1] (a tanh mean).

        What follows the last state token influences no action and is not computed; nor is, in the last block,
        anything but the state tokens.
        """
        x = self.tokens(batch)[:, :-1]
        first = 3 * batch.prompt.actions.shape[1]
        states = torch.arange(first + 1, x.shape[1], 3, device=x.device)
        return torch.tanh(self.action_head(self.transformer(x, states)).float())

    def predict(self, batch: Batch) -> Predictions:
        """Return what all three heads predict, computed in full."""
        hidden = self.transformer(self.tokens(batch))[:, 3 * batch.prompt.actions.shape[1] :]
        _, state, action = hidden.unflatten(1, (-1, 3)).unbind(2)
        return Predictions(
            torch.tanh(self.action_head(state).float()), self.state_head(action), self.return_head(action).squeeze(-1)
        )


def initialise(config: AgentConfig, seed: int) -> PromptDT:
    """Build an agent with weights drawn by ``seed``: N(0, 0.02) as GPT-2, residual projections scaled by depth."""
    agent = PromptDT(config)
    generator = torch.Generator().manual_seed(seed)
    depth_scale = (2 * config.layers) ** -0.5
    with torch.no_grad():
        for name, parameter in agent.named_parameters():
            if parameter.dim() == 2:
                residual = name.endswith(("attention.out.weight", "mlp.down.weight"))
                parameter.normal_(0.0, 0.02 * (depth_scale if residual else 1.0), generator=generator)
            elif name.endswith("bias"):
                parameter.zero_()
    return agent


def config_from(values: dict[str, Any]) -> AgentConfig:
    """Build the config from a JSON object; unknown or missing fields are a ``UserError``."""
    try:
        return AgentConfig(**values)
    except TypeError as error:
        raise UserError(f"an agent's config does not fit this version: {error}") from None
