"""Deltas on disk: what a tuning moved, the base it belongs to, and the prompts to act under."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trajtune.agents.saving import SavedAgent, tensors_digest
from trajtune.data.prompts import TaskPrompts, load_prompts, save_prompts
from trajtune.errors import UserError
from trajtune.files import disk_error, read_arrays, read_json, write_arrays, write_json
from trajtune.policy import Policy
from trajtune.tunings import TUNINGS, make_policy

FORMAT, VERSION = "trajtune-delta", 1
META = "delta.json"


@dataclass(frozen=True)
class SavedDelta:
    """A tuned policy and where it comes from."""

    policy: Policy
    prompts: dict[int, TaskPrompts]
    metadata: dict[str, Any]


def save_delta(folder: Path, policy: Policy, prompts: dict[int, TaskPrompts], metadata: dict[str, Any]) -> None:
    """Write the delta; ``metadata`` must hold ``base``, ``tuning``, ``tuning_options``, ``std`` and ``seed``."""
    tensors = {name: tensor.cpu() for name, tensor in policy.delta().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        policy.save_extra(folder)
    except OSError as error:
        raise disk_error(folder, error) from error
    write_arrays(folder / policy.delta_file, {name: tensor.numpy() for name, tensor in tensors.items()})
    save_prompts(folder, prompts)
    about = {"bytes": sum(t.nbytes for t in tensors.values()), "digest": tensors_digest(tensors)}
    write_json(folder / META, {"format": FORMAT, "version": VERSION, **about, **metadata})


def read_delta_metadata(folder: Path | str) -> dict[str, Any]:
    """Read what a delta says of itself, without its base."""
    path = Path(folder)
    meta = read_json(path / META, "delta")
    if meta.get("format") != FORMAT:
        raise UserError(f"{path / META} does not describe a trajtune delta")
    if meta.get("version") != VERSION:
        raise UserError(f"{path} has delta version {meta.get('version')}; this trajtune reads {VERSION}")
    return meta


def load_delta(folder: Path | str, base: SavedAgent) -> SavedDelta:
    """Put a delta on its base. Another base, a damaged or a foreign file is a ``UserError``."""
    path = Path(folder)
    meta = read_delta_metadata(path)
    if meta.get("base") != base.digest:
        raise UserError(f"{path} belongs to another base: agent {str(meta.get('base'))[:12]}, not {base.digest[:12]}")
    prompts = load_prompts(path)
    try:
        first = next(iter(prompts.values())).prompts[:1]
        policy = make_policy(
            meta["tuning"], base.agent, first, meta["tuning_options"], std=float(meta["std"]), seed=int(meta["seed"])
        )
        arrays = read_arrays(path / policy.delta_file, "delta")
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        policy.load_delta(tensors)
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError, StopIteration) as error:
        raise UserError(f"{path} does not fit its base ({error})") from None
    if tensors_digest(tensors) != meta.get("digest"):
        raise UserError(f"{path / policy.delta_file} is damaged: it does not match the digest in {META}")
    return SavedDelta(policy, prompts, meta)


def delta_file(metadata: dict[str, Any], folder: Path) -> str:
    """Return the name of the file that holds a delta's tensors."""
    name = metadata.get("tuning")
    if name not in TUNINGS:
        raise UserError(f"{folder / META} names an unknown tuning {name!r}: is it from another version?")
    return TUNINGS[name].policy.delta_file
