"""Checkpoints: one safetensors file with everything a step depends on, written atomically, never unpickled."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trajtune.compute.tensors import tensors_digest
from trajtune.errors import UserError
from trajtune.files import differing, write_atomically

CHECKPOINT = "checkpoint.safetensors"


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimiser's state as flat tensors: ``index/name``."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {f"{i}/{name}": t for i, p in enumerate(parameters) for name, t in optimizer.state.get(p, {}).items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what ``optimizer_tensors`` returned."""
    parameters = [(p, group) for group in optimizer.param_groups for p in group["params"]]
    for key, tensor in tensors.items():
        index, name = key.split("/", 1)
        parameter, group = parameters[int(index)]
        stays = name == "step" and not group["fused"]  # PyTorch counts steps on the CPU, but for fused updates
        optimizer.state[parameter][name] = tensor if stays else tensor.to(parameter.device)


def save_checkpoint(
    folder: Path, tensors: dict[str, Tensor], run: Mapping[str, Any], step: int, log: list[Any]
) -> None:
    """Write the state after ``step`` steps. ``run`` says what the run is, so that no other run continues it."""
    from safetensors.torch import save_file

    host = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"run": json.dumps(run, sort_keys=True), "step": str(step), "log": json.dumps(log)}
    metadata["digest"] = tensors_digest(host, json.dumps(metadata, sort_keys=True))
    write_atomically(folder / CHECKPOINT, lambda p: save_file(host, p, metadata=metadata))


def load_checkpoint(folder: Path, run: Mapping[str, Any]) -> tuple[dict[str, Tensor], int, list[Any]] | None:
    """Return tensors, step and log of a checkpoint; ``None`` without one; an error if it is another run's."""
    from safetensors import SafetensorError, safe_open

    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        digest = metadata.pop("digest")
        if tensors_digest(tensors, json.dumps(metadata, sort_keys=True)) != digest:
            raise ValueError("its contents do not match its digest")
        saved, step, log = json.loads(metadata["run"]), int(metadata["step"]), json.loads(metadata["log"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} is damaged ({str(error)[:100]}): delete it to start again") from None
    wanted = json.loads(json.dumps(run))
    if saved != wanted:
        odd = ", ".join(differing(saved, wanted))
        raise UserError(f"{folder} holds an unfinished run with another {odd}: choose another folder")
    return tensors, step, log
