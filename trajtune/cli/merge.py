"""trajtune merge"""

from dataclasses import dataclass
from pathlib import Path

from trajtune.cli.output import Output


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

    def run(self, out: Output) -> None:
        import json

        from trajtune.agents import load_agent, save_agent
        from trajtune.agents.saving import CONFIG
        from trajtune.data import load_prompts, save_prompts
        from trajtune.errors import UserError
        from trajtune.files import claim_folder, read_json
        from trajtune.training.checkpoint import MARK
        from trajtune.training.loop import clear_checkpoint
        from trajtune.tunings.merging import merge
        from trajtune.tunings.saving import load_delta

        base = load_agent(self.agent)
        saved = load_delta(self.delta, base)
        agent, provenance = merge(base, saved)
        if (self.out / CONFIG).exists():
            if read_json(self.out / CONFIG, "agent").get("provenance") != json.loads(json.dumps(provenance)):
                raise UserError(f"{self.out} already holds another agent: choose another folder")
        else:
            # Prompts of the other tasks are the base's: an agent can be evaluated on its suite's test tasks.
            bank = load_prompts(self.agent) if (self.agent / "prompts.json").exists() else {}
            claim_folder(self.out, MARK, provenance, "merge")
            save_prompts(self.out, {**bank, **saved.prompts})
            save_agent(self.out, agent, provenance)
        clear_checkpoint(self.out)
        digest = load_agent(self.out).digest
        merged = provenance["merged"]
        out.say(
            f"{merged.get('algorithm', 'an unnamed algorithm')} x {merged['tuning']} is merged: agent {digest[:12]}"
        )
        out.say(f"the agent is in {self.out}")
        out.result({"out": str(self.out), "digest": digest, "provenance": provenance})
