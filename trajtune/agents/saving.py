"""Agents on disk: ``agent.json``, ``agent.safetensors`` and the briefs of the tasks that were in the data."""

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trajtune.agents import AGENTS
from trajtune.agents.base import Agent
from trajtune.artifacts import AGENT, finish, read_header
from trajtune.compute.tensors import load_into, tensors_digest
from trajtune.configs import structured
from trajtune.data.fewshot import BRIEFS, Brief, read_briefs, write_briefs
from trajtune.errors import UserError
from trajtune.files import read_arrays, write_arrays
from trajtune.registry import resolve
from trajtune.seeds import torch_stream

WEIGHTS = "agent.safetensors"


@dataclass(frozen=True, repr=False)
class SavedAgent:
    """An agent and where it comes from. ``digest`` identifies it: a delta names the base it belongs to."""

    agent: Agent
    digest: str
    suite: str | None = None
    """What it was pretrained on; None accepts any."""
    briefs: Mapping[int, Brief] = field(default_factory=dict)
    """Of the tasks in its pretraining data's dataset: what zero-shot acting needs."""
    header: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"SavedAgent({self.agent.kind} {self.digest[:12]} of {self.suite}, briefs of {len(self.briefs)} tasks)"

    @property
    def trained_on(self) -> list[int]:
        """Tasks whose trajectories it has learned from, as its header says."""
        return trained_on(self.header)

    @classmethod
    def of(cls, agent: Agent, suite: str | None = None) -> "SavedAgent":
        """Take an agent made in memory."""
        return cls(agent.eval(), identity(agent), suite)


def trained_on(header: Mapping[str, Any]) -> list[int]:
    """Return the tasks that an agent has learned from, pretraining and what was merged into it; none if unknown."""
    run, base = header.get("run") or {}, header.get("base_run") or {}
    few = run.get("data") if "merged" in run else None
    merged = [few["task"]] if isinstance(few, Mapping) and type(few.get("task")) is int else []
    return sorted({task for task in (*run.get("tasks", ()), *base.get("tasks", ()), *merged) if type(task) is int})


def identity(agent: Agent) -> str:
    """SHA-256 over the kind, the sizes and all parameters and buffers.

    The sizes because heads, window and prompt length change what an agent does without changing a weight.
    """
    about = json.dumps([agent.kind, asdict(agent.spec)], sort_keys=True)  # type: ignore[call-overload]
    return tensors_digest(agent.state_dict(), about)


def make_agent(kind: str, sizes: Mapping[str, Any]) -> Agent:
    """Build an agent of a kind with uninitialised weights; unknown or missing sizes are a ``UserError``."""
    entry = AGENTS[kind]
    agent: Agent = resolve(entry.build)(structured(entry.config, dict(sizes), f"agent {kind}"))
    if agent.kind != kind:  # it would be saved under a name by which nobody finds it
        raise UserError(f"agent {kind} calls itself {agent.kind}: its kind must be the name it is registered under")
    return agent


def initialise(kind: str, sizes: Mapping[str, Any], seed: int) -> Agent:
    """Build an agent with weights drawn by ``seed``."""
    agent = make_agent(kind, sizes)
    agent.initialise(torch_stream(seed, "agent"))
    return agent


def save_agent(
    folder: Path,
    agent: Agent,
    suite: str | None,
    briefs: Mapping[int, Brief],
    about: Mapping[str, Any],
    dtype: str = "float32",
) -> None:
    """Write weights and briefs, then the header that makes the folder an agent. ``about`` holds ``run`` and more.

    In float16, parameters are rounded first, and the rounded agent is what the digest names; the normaliser is not.
    """
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in agent.state_dict().items()}
    if dtype == "float16":
        agent = copy.deepcopy(agent)
        for name, parameter in agent.named_parameters():
            with np.errstate(over="ignore"):  # it is told below
                arrays[name] = arrays[name].astype(np.float16)
            parameter.data = torch.from_numpy(arrays[name].astype(np.float32))
            if not bool(parameter.isfinite().all()):
                raise UserError(f"{name} has a weight that float16 cannot hold: store it in float32 (dtype)")
    write_arrays(folder / WEIGHTS, arrays)
    header = {
        "agent": agent.kind,
        "spec": asdict(agent.spec),  # type: ignore[call-overload]
        "suite": suite,
        "identity": identity(agent),
        "briefs": write_briefs(folder, briefs),
        **about,
    }
    finish(folder, AGENT, header, [WEIGHTS, BRIEFS])


def load_agent(folder: Path | str) -> SavedAgent:
    """Load an agent; a folder that is not one, or is damaged, is a ``UserError`` that names the file."""
    path = Path(folder)
    header = read_header(path, AGENT)
    try:
        agent = make_agent(header["agent"], header["spec"])
        arrays = read_arrays(path / WEIGHTS, "agent")
        # Weights may be stored as float16, which is smaller; an agent computes from float32.
        values = {name: torch.from_numpy(np.asarray(a, np.float32)) for name, a in arrays.items()}
        load_into(agent.state_dict(), values, complete=True)
        briefs = read_briefs(path, header["briefs"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} does not hold the agent that its header describes ({error})") from None
    found = identity(agent)
    if found != header["identity"]:
        raise UserError(f"{path / WEIGHTS} is damaged: it is not the agent that {AGENT.header} names")
    return SavedAgent(agent.eval(), found, header.get("suite"), briefs, header)
