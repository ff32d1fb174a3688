"""Reference returns that ship with the package: of the random policy and of the experts that collected our data.

A dataset carries its own; these are for looking up. They are those of datasets that ``trajtune collect SUITE`` made
with its defaults, 100 expert trajectories a task and 20 random ones:
``python -m trajtune.suites.references DATASET...``.
"""

import json
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

FILE = Path(str(files("trajtune.suites").joinpath("references.json")))


def shipped_references(suite: str) -> dict[int, dict[str, float]]:
    """Return {task: {"random": R, "expert": R}} of one of our suites, empty where none were measured."""
    table = json.loads(FILE.read_text())
    return {int(task): entry for task, entry in table.get(suite, {}).items()}


def take_over(datasets: Sequence[Path], file: Path = FILE) -> None:
    """Let the references of whole datasets replace those of their suites, one task a line."""
    from trajtune import artifacts
    from trajtune.files import write_text

    table: dict[str, Any] = json.loads(file.read_text())
    for folder in datasets:
        header = artifacts.read_header(folder, artifacts.DATASET)
        table[header["suite"]] = {
            task: {kind: round(value, 2) for kind, value in entry.items()}
            for task, entry in header["references"].items()
        }
    suites = []
    for suite, tasks in table.items():
        lines = ",\n".join(f"  {json.dumps(task)}: {json.dumps(entry)}" for task, entry in tasks.items())
        suites.append(f" {json.dumps(suite)}: {{\n{lines}\n }}")
    write_text(file, "{\n" + ",\n".join(suites) + "\n}\n")


if __name__ == "__main__":
    take_over([Path(folder) for folder in sys.argv[1:]])
