"""Act for many episodes at once without computing anything twice.

Three facts make it fast, and all are exact (tests compare with the plain agent):

* The prompt is a prefix and attention is causal: its part of every block is computed once an episode.
* A token's embedding does not depend on where the window stands (timesteps are absolute), so the first block's
  queries, keys and values of a step are computed once, when the step is new. Deeper blocks change as the window slides.
* Only the newest state token's action is wanted. In the last block that token alone asks, so keys and values need not
  be formed: q.(W_k x) = (W_k'q).x and sum p_j W_v x_j = W_v sum p_j x_j.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from trajtune.agents.base import check_timestep
from trajtune.agents.prompt_dt.transformer import attend
from trajtune.types import Prompt

if TYPE_CHECKING:
    from trajtune.agents.prompt_dt.model import PromptDT


@dataclass(frozen=True)
class _Block:
    """One block's weights in the format of acting."""

    norm1: tuple[Tensor, Tensor]
    qkv: tuple[Tensor, Tensor]
    out: tuple[Tensor, Tensor]
    norm2: tuple[Tensor, Tensor]
    up: tuple[Tensor, Tensor]
    down: tuple[Tensor, Tensor]


class CachedActor:
    """Acts for B episodes in step under prompts [B, P], or without any. The weights are those of its making."""

    def __init__(self, agent: "PromptDT", prompts: Prompt | None, dtype: torch.dtype = torch.float32) -> None:
        self._agent, self._spec, self._dtype = agent, agent.spec, dtype
        self._width, self._heads = agent.spec.width, agent.spec.heads
        self._blocks = [self._convert(block) for block in agent.transformer.blocks]
        self._last_norm = self._pair(agent.transformer.norm)
        self._prefix: list[tuple[Tensor, Tensor]] = []  # keys and values [B, H, 3P, D] of every block but the last
        self._prefix_x: Tensor | None = None  # [B, 3P, C], what enters the last block
        self._start = self._end = 0  # the window in the buffers, in tokens; the newest action is still to come
        if prompts is not None:
            self._read(prompts)

    def _pair(self, module: torch.nn.Module) -> tuple[Tensor, Tensor]:
        return module.weight.detach().to(self._dtype), module.bias.detach().to(self._dtype)  # type: ignore[operator]

    def _convert(self, block: torch.nn.Module) -> _Block:
        attention, mlp = block.attention, block.mlp
        parts = (block.norm1, attention.qkv, attention.out, block.norm2, mlp.up, mlp.down)  # type: ignore[union-attr]
        return _Block(*map(self._pair, parts))  # type: ignore[arg-type]

    @torch.inference_mode()
    def _read(self, prompts: Prompt) -> None:
        """Run the prompts through the blocks and keep what the history needs of them."""
        x = self._normed(self._agent.prompt_tokens(prompts))
        visible = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).tril()
        for block in self._blocks[:-1]:
            q, k, v = self._qkv(block, x)
            self._prefix.append((k, v))
            x = self._finish(block, x, attend(q, k, v, visible))
        self._prefix_x = x

    def _make_room(self, batch: int, device: torch.device) -> None:
        """The window slides over these buffers; they are moved back to the front when their end is reached."""
        self._room = 8 * self._spec.window
        self._tokens = torch.empty(batch, 3 * self._room, self._width, dtype=self._dtype, device=device)
        shape = (batch, self._heads, 3 * self._room, self._width // self._heads)
        self._first_qkv = [torch.empty(shape, dtype=self._dtype, device=device) for _ in range(3)]

    @torch.inference_mode()
    def act(self, t: int, returns_to_go: Tensor, observations: Tensor, last_actions: Tensor | None) -> Tensor:
        """Return actions [B, A] for time step ``t``: see ``trajtune.agents.base.Actor``."""
        check_timestep(t, self._spec)
        if self._end == 0:
            self._make_room(len(observations), observations.device)
        self._append(t, returns_to_go, self._agent.normalise(observations), last_actions)
        window = slice(self._start, self._end)
        x = self._tokens[:, window]
        for i, block in enumerate(self._blocks[:-1]):
            q, k, v = [each[:, :, window] for each in self._first_qkv] if i == 0 else self._qkv(block, x)
            x = self._finish(block, x, self._attend(q, k, v, *self._prefix[i : i + 1]))
        hidden = self._last(self._blocks[-1], x if self._prefix_x is None else torch.cat([self._prefix_x, x], dim=1))
        head = self._agent.action_head
        return torch.tanh(F.linear(hidden.float(), head.weight, head.bias))

    def _append(self, t: int, returns_to_go: Tensor, states: Tensor, last_actions: Tensor | None) -> None:
        """Embed what is new, the last action and this step's return and state, and slide the window."""
        if self._end + 3 > 3 * self._room:
            keep = slice(self._start, self._end)
            for buffer, axis in [(self._tokens, 1), *((each, 2) for each in self._first_qkv)]:
                kept = buffer.movedim(axis, 0)[keep].clone()
                buffer.movedim(axis, 0)[: len(kept)] = kept
            self._start, self._end = 0, self._end - self._start
        e = self._agent.history_embeddings
        new = []
        if last_actions is not None:
            new.append(e.actions(last_actions) + e.timesteps.weight[t - 1])
        time = e.timesteps.weight[t]
        new += [e.returns((returns_to_go / self._agent.return_scale).unsqueeze(-1)) + time, e.states(states) + time]
        tokens = self._normed(torch.stack(new, dim=1))
        place = slice(self._end, self._end + len(new))
        self._tokens[:, place] = tokens
        if len(self._blocks) > 1:
            for buffer, fresh in zip(self._first_qkv, self._qkv(self._blocks[0], tokens), strict=True):
                buffer[:, :, place] = fresh
        self._end = place.stop
        self._start = max(self._start, self._end - (3 * self._spec.window - 1))

    def _normed(self, tokens: Tensor) -> Tensor:
        return self._agent.embedding_norm(tokens).to(self._dtype)

    def _qkv(self, block: _Block, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, T, C] -> three of [B, H, T, D]."""
        y = F.linear(F.layer_norm(x, (self._width,), *block.norm1), *block.qkv)
        q, k, v = y.view(*x.shape[:2], 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        return q, k, v

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, *prefix: tuple[Tensor, Tensor]) -> Tensor:
        """Causal attention of the history [B, H, T, D] over the prompt, if there is one, and itself."""
        length = q.shape[2]
        for prompt_k, prompt_v in prefix:
            k, v = torch.cat([prompt_k, k], dim=2), torch.cat([prompt_v, v], dim=2)
        visible = torch.ones(length, k.shape[2], dtype=torch.bool, device=q.device).tril(k.shape[2] - length)
        return attend(q, k, v, visible)

    def _finish(self, block: _Block, x: Tensor, attended: Tensor) -> Tensor:
        """The rest of a block after attention: [B, T, C] and [B, H, T, D] -> [B, T, C]."""
        x = x + F.linear(attended.transpose(1, 2).flatten(2), *block.out)
        hidden = F.relu_(F.linear(F.layer_norm(x, (self._width,), *block.norm2), *block.up))
        return x + F.linear(hidden, *block.down)

    def _last(self, block: _Block, x: Tensor) -> Tensor:
        """The last block and the final norm for the newest token alone: [B, T, C] -> [B, C]."""
        width, heads = self._width, self._heads
        head = width // heads
        normed = F.layer_norm(x, (width,), *block.norm1)
        (w_q, w_k, w_v), (b_q, _, b_v) = block.qkv[0].view(3, width, width), block.qkv[1].view(3, width)
        q = F.linear(normed[:, -1], w_q, b_q).view(-1, heads, head)
        asks = torch.einsum("bhd,hdc->bhc", q, w_k.view(heads, head, width))  # W_k'q; the key bias shifts all alike
        weights = torch.softmax((asks @ normed.transpose(1, 2)).float() * head**-0.5, dim=-1).to(self._dtype)
        seen = weights @ normed  # [B, H, C]
        y = torch.einsum("bhc,hdc->bhd", seen, w_v.view(heads, head, width)).flatten(1) + b_v
        x = self._finish(block, x[:, -1:], y.view(len(x), 1, heads, head).transpose(1, 2))
        return F.layer_norm(x[:, 0], (width,), *self._last_norm)
