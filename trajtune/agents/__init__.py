"""The pretrained transformer: its trunk, its tokens and heads, the critics, and how it is saved."""

from trajtune.agents.critics import Critic, initialise_critic
from trajtune.agents.prompt_dt import AgentConfig, PromptDT, initialise
from trajtune.agents.saving import SavedAgent, load_agent, save_agent

__all__ = [
    "AgentConfig",
    "Critic",
    "PromptDT",
    "SavedAgent",
    "initialise",
    "initialise_critic",
    "load_agent",
    "save_agent",
]
