"""Named groups of tensors: prefixes, digests, loading, and modules that hold tensors nobody learns."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names start with ``prefix``, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with ``prefix`` before their names."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def tensors_digest(tensors: Mapping[str, Tensor], prefix: str = "") -> str:
    """SHA-256 over a prefix and the names, types, shapes and bytes of tensors: what finds a flipped bit in a file."""
    total = hashlib.sha256(prefix.encode())
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def load_into(targets: Mapping[str, Tensor], values: Mapping[str, Tensor], *, complete: bool = False) -> None:
    """Copy values into tensors of the same names and shapes; if ``complete``, into every one.

    ``KeyError`` or ``ValueError`` says which name or shape does not fit, or which number is not finite.
    """
    if complete and (missing := sorted(targets.keys() - values.keys())):
        raise KeyError(f"{missing[0]} is missing")
    for name, value in values.items():
        if name not in targets:
            raise KeyError(f"{name} has no place here")
        if targets[name].shape != value.shape:
            raise ValueError(f"{name} is {tuple(value.shape)}, expected {tuple(targets[name].shape)}")
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ValueError(f"{name} has a number that is not finite")
        targets[name].data.copy_(value)


class Held(nn.Module):
    """Tensors by name that no optimiser moves: a snapshot of parameters, their moving average, a table.

    They are buffers, not plain attributes: so they are checkpointed with the network they stand beside, and many runs
    can be stacked into one program (``torch.func``), each with its own.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name.replace(".", "/"), tensor.detach().clone())

    def values(self) -> dict[str, Tensor]:
        """Return the tensors by their names."""
        return {name.replace("/", "."): tensor for name, tensor in self.named_buffers()}

    def __getitem__(self, name: str) -> Tensor:
        return self.get_buffer(name.replace(".", "/"))

    @torch.no_grad()
    def take(self, values: Mapping[str, Tensor]) -> None:
        """Become what ``values`` are now."""
        for name, tensor in self.values().items():
            tensor.copy_(values[name])

    @torch.no_grad()
    def follow(self, values: Mapping[str, Tensor], tau: float) -> None:
        """Move towards ``values``: x' <- x' + tau (x - x')."""
        for name, tensor in self.values().items():  # neither lerp_ nor its kin: torch.func cannot stack them
            tensor.add_(values[name].detach() - tensor, alpha=tau)
