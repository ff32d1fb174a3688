"""Reference returns that ship with the package: of the random policy and of the experts that collected our data.

A dataset carries its own; these are for looking up. ``trajtune collect`` made them.
"""

import json
from importlib.resources import files


def shipped_references(suite: str) -> dict[int, dict[str, float]]:
    """Return {task: {"random": R, "expert": R}} of one of our suites, empty where none were measured."""
    table = json.loads(files("trajtune.suites").joinpath("references.json").read_text())
    return {int(task): entry for task, entry in table.get(suite, {}).items()}
