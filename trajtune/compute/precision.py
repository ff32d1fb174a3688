"""Which number format to compute in: bfloat16 where the processor has it, float32 otherwise."""

import contextlib
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "bf16", "fp32"]
"""``auto`` is bf16 where the device multiplies bfloat16 matrices in hardware, else fp32."""


def has_bf16(device: "torch.device") -> bool:
    """Tell whether the device multiplies bfloat16 matrices in hardware; elsewhere it is 10 to 50 times as slow."""
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    supported = (torch.cpu._is_avx512_bf16_supported, torch.cpu._is_amx_tile_supported)
    return any(check() for check in supported)


def compute_dtype(precision: Precision, device: "torch.device") -> "torch.dtype":
    """Return the format that ``precision`` stands for on this device."""
    import torch

    if precision == "auto":
        return torch.bfloat16 if has_bf16(device) else torch.float32
    return torch.bfloat16 if precision == "bf16" else torch.float32


def resolved(precision: Precision, device: "torch.device") -> Precision:
    """Return the name of the format that ``precision`` stands for on this device: never ``auto``."""
    import torch

    return "bf16" if compute_dtype(precision, device) == torch.bfloat16 else "fp32"


def autocast(dtype: "torch.dtype", device: "torch.device") -> contextlib.AbstractContextManager[None]:
    """Run linear maps and attention in ``dtype``; weights and losses stay float32."""
    import torch

    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype)
