"""Merge a delta into its agent, where the result is an agent: weights that moved, or adapters on weights."""

from typing import Any

from trajtune.agents import PromptDT, SavedAgent
from trajtune.errors import UserError
from trajtune.tunings.saving import SavedDelta

NOT_PROVENANCE = ("format", "version", "bytes", "log")


def merge(base: SavedAgent, saved: SavedDelta) -> tuple[PromptDT, dict[str, Any]]:
    """Return a plain agent that acts as the tuned policy (the same within rounding) and its provenance.

    What is not in the agent's weights cannot be merged and is a ``UserError``.
    """
    plain, tuning = saved.policy.plain(), saved.metadata["tuning"]
    if plain.prompt is not None:
        raise UserError(
            f"a {tuning} delta cannot be merged: it is input to the agent, not part of its weights; "
            "evaluate --delta acts under it"
        )
    if plain.residual is not None:
        raise UserError(
            f"a {tuning} delta cannot be merged: it is a second network whose output is added to the agent's actions; "
            "evaluate --delta acts with both"
        )
    provenance = {
        "suite": base.provenance.get("suite"),
        "merged": {key: value for key, value in saved.metadata.items() if key not in NOT_PROVENANCE},
        # Nested, not spread: pretraining must not take the folder for its own finished work.
        "base": {key: value for key, value in base.provenance.items() if key != "log"},
    }
    return plain.agent, provenance
