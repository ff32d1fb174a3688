"""Values of states or of states and actions: networks of three hidden layers of 256, Mish (paper, appendix C)."""

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from trajtune.seeds import torch_stream


class Critic(nn.Module):
    """``members`` independent networks evaluated as one batched product; ``forward`` gives all, [members, ...].

    Over states and actions it is Q, over states alone V. What it says is ``centre + scale * network``: with the mean
    and deviation of the data's discounted returns, a fresh network already speaks in their units.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, inputs: int, members: int, hidden: int = 256, layers: int = 3) -> None:
        super().__init__()
        sizes = [inputs, *[hidden] * layers, 1]
        self.members = members
        self.weights = nn.ParameterList(torch.empty(members, a, b) for a, b in itertools.pairwise(sizes))
        self.biases = nn.ParameterList(torch.empty(members, 1, b) for b in sizes[1:])
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, *inputs: Tensor, which: slice = slice(None)) -> Tensor:
        """Normalised observations [..., S], for Q also actions [..., A] -> values [members, ...], or of ``which``."""
        x = torch.cat(inputs, dim=-1)
        members = len(range(self.members)[which])
        return self._values(x.flatten(0, -2).expand(members, -1, -1), which).unflatten(-1, x.shape[:-1])

    def each(self, x: Tensor) -> Tensor:
        """Other inputs for every member: [members, n, D] -> [members, n]."""
        return self._values(x, slice(None))

    @torch.no_grad()
    def with_slope(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the first member says of Q [...] and its slope dQ/da [..., A], from one pass.

        By the chain rule, written out: ``torch.func.grad`` through a custom function keeps its memory for ever
        (9 MB a call here, PyTorch 2.13), and ``torch.autograd.grad`` cannot be stacked.
        """
        x = torch.cat([states, actions], dim=-1)
        shape, x = x.shape[:-1], x.flatten(0, -2)
        *hidden, (weight, bias) = [(w[0], b[0]) for w, b in zip(self.weights, self.biases, strict=True)]
        bends = []
        for w, b in hidden:
            x = torch.addmm(b, x, w)
            bends.append(_mish_slope(x))
            x = mish(x)
        with torch.autocast(x.device.type, enabled=False):
            values = self.centre + self.scale * ((x.float() * weight.T).sum(-1) + bias)
            back = self.scale * weight.T.expand(x.shape)
        for (w, _), bend in zip(reversed(hidden), reversed(bends), strict=True):
            back = (back * bend) @ w.T
        return values.flatten().unflatten(0, shape), back[:, -actions.shape[-1] :].float().unflatten(0, shape)

    def _values(self, x: Tensor, which: slice) -> Tensor:
        # The whole is not sliced: the slope of a slice is a zeroed copy of everything, a sixth of an update.
        some = which != slice(None)
        layers = [(w[which], b[which]) if some else (w, b) for w, b in zip(self.weights, self.biases, strict=True)]
        *hidden, (weight, bias) = layers
        for w, b in hidden:
            x = mish(torch.baddbmm(b, x, w))
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 would round a value of -100 to whole halves
            # One output only: a batched product takes four times as long on a CPU.
            y = (x.float() * weight.transpose(1, 2)).sum(-1) + bias.squeeze(-1)
            return self.centre + self.scale * y


def initialise_critic(inputs: int, members: int, seed: int, name: str) -> Critic:
    """Build a critic with weights drawn by ``seed``, uniform within 1/sqrt(fan in) as ``nn.Linear`` has it."""
    critic = Critic(inputs, members)
    generator = torch_stream(seed, "critic", name)
    with torch.no_grad():
        for weight, bias in zip(critic.weights, critic.biases, strict=True):
            bound = weight.shape[1] ** -0.5
            weight.uniform_(-bound, bound, generator=generator)
            bias.uniform_(-bound, bound, generator=generator)
    return critic


def mish(x: Tensor) -> Tensor:
    """x tanh(softplus(x)). On a CPU PyTorch's own takes twice as long, half of a critic's time."""
    if x.is_cuda:
        return nn.functional.mish(x)
    y: Tensor = _Mish.apply(x)  # type: ignore[no-untyped-call]
    return y


def _parts(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """With s = sigmoid(x) and u = 1 - (1 - s)^2, tanh(softplus(x)) = u / (2 - u): return s, u, 2 - u."""
    s = torch.sigmoid(x)
    u = (2.0 - s).mul_(s)  # exact where s is small, unlike the square above
    return s, u, 2.0 - u


def _wide(x: Tensor) -> Tensor:
    """At least float32: in bfloat16, every operation would round."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class _Mish(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        wide = _wide(x)
        _, u, rest = _parts(wide)
        return u.div_(rest).mul_(wide).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return _mish_slope(x).mul_(_wide(gradient)).to(x.dtype)


def _mish_slope(x: Tensor) -> Tensor:
    """The derivative of ``mish``, at least float32."""
    wide = _wide(x)
    s, u, rest = _parts(wide)
    bend = s.mul_(1.0 - u).mul_(wide).div_(rest)
    return torch.add(u, bend, alpha=4.0).div_(rest)
