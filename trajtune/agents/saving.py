"""Agents on disk: ``config.json``, ``agent.safetensors`` and the prompts of the tasks that were in the data."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trajtune.agents.prompt_dt import PromptDT, config_from
from trajtune.errors import UserError
from trajtune.files import read_arrays, read_json, write_arrays, write_json

FORMAT, VERSION = "trajtune-agent", 1
CONFIG, WEIGHTS = "config.json", "agent.safetensors"


@dataclass(frozen=True)
class SavedAgent:
    """An agent and where it comes from. ``digest`` identifies it: a delta names the base it belongs to."""

    agent: PromptDT
    provenance: dict[str, Any]
    digest: str


def digest(agent: PromptDT) -> str:
    """SHA-256 over the config and all parameters and buffers.

    The config because heads, window and prompt length change what an agent does without changing a weight.
    """
    return tensors_digest(agent.state_dict(), json.dumps(asdict(agent.config), sort_keys=True))


def tensors_digest(tensors: Mapping[str, Tensor], prefix: str = "") -> str:
    """SHA-256 over a prefix and the names, types, shapes and bytes of tensors: what finds a flipped bit in a file."""
    total = hashlib.sha256(prefix.encode())
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def save_agent(folder: Path, agent: PromptDT, provenance: dict[str, Any]) -> None:
    """Write the weights, then the config that makes the folder an agent."""
    write_arrays(folder / WEIGHTS, {name: tensor.detach().cpu().numpy() for name, tensor in agent.state_dict().items()})
    config = {"format": FORMAT, "version": VERSION, "config": asdict(agent.config)}
    write_json(folder / CONFIG, {**config, "digest": digest(agent), "provenance": provenance})


def load_agent(folder: Path | str) -> SavedAgent:
    """Load an agent; a folder that is not one, or is damaged, is a ``UserError`` that names the file."""
    path = Path(folder)
    meta = read_json(path / CONFIG, "agent")
    if meta.get("format") != FORMAT:
        raise UserError(f"{path / CONFIG} does not describe a trajtune agent")
    if meta.get("version") != VERSION:
        raise UserError(f"{path} has agent version {meta.get('version')}; this trajtune reads {VERSION}")
    if not isinstance(meta.get("config"), dict):
        raise UserError(f"{path / CONFIG} is not complete: it has no config")
    agent = PromptDT(config_from(meta["config"]))
    load_tensors(agent, read_arrays(path / WEIGHTS, "agent"), path / WEIGHTS)
    found = digest(agent)
    if found != meta.get("digest"):
        raise UserError(f"{path / WEIGHTS} is damaged: it and the sizes in {CONFIG} do not match the digest there")
    return SavedAgent(agent.eval(), meta.get("provenance", {}), found)


def load_tensors(module: torch.nn.Module, arrays: dict[str, np.ndarray[Any, Any]], path: Path) -> None:
    """Copy arrays into a module's parameters and buffers; names and shapes must match exactly."""
    state: dict[str, Tensor] = module.state_dict()
    if state.keys() != arrays.keys():
        odd = sorted(state.keys() ^ arrays.keys())
        raise UserError(f"{path} does not fit: tensors that are missing or too many: {', '.join(odd[:3])}")
    for name, tensor in state.items():
        if tuple(tensor.shape) != arrays[name].shape:
            raise UserError(f"{path} does not fit: {name} is {arrays[name].shape}, expected {tuple(tensor.shape)}")
        if not np.isfinite(arrays[name]).all():
            raise UserError(f"{path} is damaged: {name} has non-finite numbers")
        tensor.copy_(torch.from_numpy(arrays[name]))
