"""trajtune merge"""

from dataclasses import dataclass
from pathlib import Path

from trajtune.cli.output import Output
from trajtune.shipped import shipped


@dataclass
class Merge:
    """Turn an agent and an adapter or full delta into one plain agent that acts the same."""

    agent: Path
    """Folder of the pretrained agent."""
    delta: Path
    """Folder of a delta that finetuning made."""
    out: Path
    """Folder of the new agent."""
    json: bool = False
    """Print one JSON object."""

    def __post_init__(self) -> None:
        self.agent = shipped(str(self.agent))

    def run(self, out: Output) -> None:
        from trajtune.artifacts import AGENT, DELTA, read_header

        read_header(self.agent, AGENT, verify=False)  # what can be wrong is found before torch is imported
        read_header(self.delta, DELTA, verify=False)

        from trajtune.agents.saving import load_agent
        from trajtune.training.deltas import load_delta, save_merged

        base = load_agent(self.agent)
        saved = load_delta(self.delta, base)
        merged = save_merged(self.out, base, saved)
        recipe = saved.recipe
        out.say(f"{recipe.algorithm} x {recipe.tuning} is merged: agent {merged.digest[:12]} is in {self.out}")
        out.result({"out": str(self.out), "digest": merged.digest, "run": merged.header["run"]})
