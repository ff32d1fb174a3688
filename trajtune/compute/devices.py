"""Where to compute."""

import torch

from trajtune.errors import UserError


def pick_device(name: str) -> torch.device:
    """Return the device of that name; ``auto`` is the first CUDA device, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"unknown device {name!r}: choose auto, cpu or cuda") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"unknown device {name!r}: choose auto, cpu or cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("no CUDA device is available: choose --device cpu")
    if (device.index or 0) >= (torch.cuda.device_count() if device.type == "cuda" else 1):
        raise UserError(f"there is no device {name!r}: choose auto, cpu or cuda")
    return device
