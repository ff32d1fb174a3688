"""State-action values: two independent networks, three hidden layers of 256, Mish (paper, appendix C)."""

import itertools

import torch
from torch import Tensor, nn


class DoubleQ(nn.Module):
    """Two Q-networks evaluated as one batched product; ``forward`` gives both, [2, ...]."""

    def __init__(self, observation_dim: int, action_dim: int, hidden: int = 256, layers: int = 3) -> None:
        super().__init__()
        sizes = [observation_dim + action_dim, *[hidden] * layers, 1]
        self.weights = nn.ParameterList(torch.empty(2, a, b) for a, b in itertools.pairwise(sizes))
        self.biases = nn.ParameterList(torch.empty(2, 1, b) for b in sizes[1:])

    def forward(self, observations: Tensor, actions: Tensor, which: slice = slice(None)) -> Tensor:
        """Normalised observations [..., S] and actions [..., A] -> values [2, ...], or of one network, [1, ...]."""
        shape = actions.shape[:-1]
        x = torch.cat([observations, actions], dim=-1).flatten(0, -2)
        x = x.expand(len(range(2)[which]), -1, -1)
        *hidden, (weight, bias) = zip(self.weights, self.biases, strict=True)
        for w, b in hidden:
            x = nn.functional.mish(torch.baddbmm(b[which], x, w[which]))
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 would round a value of -100 to whole halves
            x = torch.baddbmm(bias[which], x.float(), weight[which])
        return x.squeeze(-1).unflatten(-1, shape)


def initialise_critic(observation_dim: int, action_dim: int, seed: int) -> DoubleQ:
    """Build a critic with weights drawn by ``seed``, uniform within 1/sqrt(fan in) as ``nn.Linear`` has it."""
    critic = DoubleQ(observation_dim, action_dim)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight, bias in zip(critic.weights, critic.biases, strict=True):
            bound = weight.shape[1] ** -0.5
            weight.uniform_(-bound, bound, generator=generator)
            bias.uniform_(-bound, bound, generator=generator)
    return critic
