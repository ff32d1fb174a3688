"""The trunk: a causal pre-norm transformer after minGPT, ReLU as in Prompt-DT."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def attend(q: Tensor, k: Tensor, v: Tensor, visible: Tensor, dropout: float = 0.0) -> Tensor:
    """Attention of queries [B, H, Q, D] over keys and values [B, H, T, D] where ``visible`` [Q, T].

    On a GPU this is ``scaled_dot_product_attention``. On a CPU its backward pass takes three times as long as four
    plain products at our lengths (``benchmarks/attention.py``), so there the products are written out.
    """
    if q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=visible, dropout_p=dropout)
    hidden = torch.zeros(visible.shape, dtype=q.dtype).masked_fill_(~visible, float("-inf"))
    scores = torch.baddbmm(hidden, q.flatten(0, 1), k.flatten(0, 1).transpose(1, 2), alpha=q.shape[-1] ** -0.5)
    weights = F.dropout(torch.softmax(scores, dim=-1), dropout, dropout > 0.0)
    return torch.bmm(weights.to(v.dtype), v.flatten(0, 1)).unflatten(0, q.shape[:2])


class Attention(nn.Module):
    """Causal self-attention. ``positions`` are the tokens that ask; every token is attended to."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        """[B, T, C] -> [B, Q, C] with Q = T, or the number of ``positions`` [Q]."""
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        tokens = torch.arange(length, device=x.device)
        visible = (tokens if positions is None else positions)[:, None] >= tokens  # [Q, T]
        y = attend(q if positions is None else q[:, :, positions], k, v, visible, self.dropout * self.training)
        y = self.out(y.transpose(1, 2).reshape(batch, -1, width))
        return F.dropout(y, self.dropout, self.training)


class MLP(nn.Module):
    """Two linear maps with a ReLU between, four times as wide."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.down(F.relu(self.up(x))), self.dropout, self.training)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, dropout)

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        attended = self.attention(self.norm1(x), positions)
        x = (x if positions is None else x[:, positions]) + attended
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """Blocks and the final norm. The last block computes only the tokens that are asked for."""

    def __init__(self, layers: int, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        """[B, T, C] -> [B, Q, C]: the hidden states of ``positions`` [Q], or of all tokens."""
        *first, last = self.blocks
        for block in first:
            x = block(x)
        hidden: Tensor = self.norm(last(x, positions))
        return hidden
