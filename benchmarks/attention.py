"""Why attention is written out on the CPU: forward and backward beside PyTorch's, one thread, alternating.

``python benchmarks/attention.py``: 64 windows of 74 tokens, one head of 128, as in a training step.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from speed import seconds
from torch import Tensor

from trajtune.agents.prompt_dt.transformer import attend
from trajtune.compute.precision import has_bf16

BATCH, TOKENS, WIDTH = 64, 74, 128


def flash(q: Tensor, k: Tensor, v: Tensor, visible: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def main() -> None:
    torch.set_num_threads(1)
    visible = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()
    # Where bfloat16 is emulated, it takes 10 to 50 times as long and says nothing.
    for dtype in (torch.float32, torch.bfloat16)[: 1 + has_bf16(torch.device("cpu"))]:
        x = torch.randn(BATCH, TOKENS, 3 * WIDTH).to(dtype).requires_grad_()
        gradient = torch.randn(BATCH, 1, TOKENS, WIDTH).to(dtype)

        def step(function: Callable[..., Tensor], x: Tensor = x, gradient: Tensor = gradient) -> None:
            q, k, v = x.view(BATCH, TOKENS, 3, 1, WIDTH).permute(2, 0, 3, 1, 4)
            function(q, k, v, visible).backward(gradient)

        times = seconds({"scaled_dot_product_attention": lambda: step(flash), "ours": lambda: step(attend)}, 20)
        ratio = times["ours"] / times["scaled_dot_product_attention"]
        print(dtype, {name: f"{1e3 * value:.1f} ms" for name, value in times.items()}, f"ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
