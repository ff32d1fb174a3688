"""The pretrained transformer. An agent is one module or folder here and one line in the table."""

from dataclasses import MISSING, dataclass, fields
from typing import Any

from trajtune.agents.prompt_dt.config import PromptDTConfig
from trajtune.registry import Registry


@dataclass(frozen=True)
class AgentEntry:
    """A kind of agent: what it is in a word, its torch-free config, and where its class is (``module:Class``)."""

    summary: str
    config: type[Any]
    build: str


AGENTS = Registry(
    "agent",
    "trajtune.agents",
    AgentEntry,
    {
        "prompt-dt": AgentEntry(
            "Prompt Decision Transformer", PromptDTConfig, "trajtune.agents.prompt_dt.model:PromptDT"
        ),
    },
)


def agent_options(name: str) -> dict[str, Any]:
    """Return the sizes of an agent that may be chosen, and their defaults; the others follow from the data."""
    return {f.name: f.default for f in fields(AGENTS[name].config) if f.default is not MISSING}
