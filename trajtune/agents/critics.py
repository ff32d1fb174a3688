"""Values of states or of states and actions: networks of three hidden layers of 256, Mish (paper, appendix C)."""

import itertools

import torch
from torch import Tensor, nn


class Critic(nn.Module):
    """``members`` independent networks evaluated as one batched product; ``forward`` gives all, [members, ...].

    Over states and actions it is Q (two members for double Q-learning), over states alone V.
    """

    def __init__(self, inputs: int, members: int, hidden: int = 256, layers: int = 3) -> None:
        super().__init__()
        sizes = [inputs, *[hidden] * layers, 1]
        self.members = members
        self.weights = nn.ParameterList(torch.empty(members, a, b) for a, b in itertools.pairwise(sizes))
        self.biases = nn.ParameterList(torch.empty(members, 1, b) for b in sizes[1:])

    def forward(self, *inputs: Tensor, which: slice = slice(None)) -> Tensor:
        """Normalised observations [..., S], for Q also actions [..., A] -> values [members, ...], or of ``which``."""
        x = torch.cat(inputs, dim=-1)
        shape = x.shape[:-1]
        x = x.flatten(0, -2).expand(len(range(self.members)[which]), -1, -1)
        *hidden, (weight, bias) = zip(self.weights, self.biases, strict=True)
        for w, b in hidden:
            x = nn.functional.mish(torch.baddbmm(b[which], x, w[which]))
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 would round a value of -100 to whole halves
            x = torch.baddbmm(bias[which], x.float(), weight[which])
        return x.squeeze(-1).unflatten(-1, shape)


def initialise_critic(inputs: int, members: int, seed: int) -> Critic:
    """Build a critic with weights drawn by ``seed``, uniform within 1/sqrt(fan in) as ``nn.Linear`` has it."""
    critic = Critic(inputs, members)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight, bias in zip(critic.weights, critic.biases, strict=True):
            bound = weight.shape[1] ** -0.5
            weight.uniform_(-bound, bound, generator=generator)
            bias.uniform_(-bound, bound, generator=generator)
    return critic
