"""The commands that repeat a run, as far as the command line can."""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from trajtune.artifacts import AGENT, DATASET, read_header
from trajtune.data.setting import Setting
from trajtune.data.store import Dataset
from trajtune.shipped import ASSET
from trajtune.study.cell import Run

AGENT_PLACE, DATA_PLACE, DELTA_PLACE = "AGENT", "DATA", "DELTA"
"""What stands for folders that only the reader knows; the digests beside the command say of what they must be."""
PROMPTS = (
    "The study drew prompts by seed {run} and episodes by seed {evaluation}; this command has one seed for both, so "
    "that its prompts are the study's and its episodes are others."
)


def commands(run: Run) -> tuple[list[str], str]:
    """Return the commands that repeat a run, one a step, and what they cannot repeat (empty where that is nothing).

    Every option is written out: a default that changes later changes nothing.
    """
    agent = shipped_by_digest().get(run.agent, AGENT_PLACE)
    data = shipped_by_digest().get(run.data, DATA_PLACE)
    drawn = ["--data", data, "--task", str(run.task), *_options(_setting(run.setting))]
    scored = [
        f"--episodes={run.evaluation.episodes}",
        f"--precision={run.evaluation.precision}",
    ]
    evaluate = ["trajtune", "evaluate", "--agent", agent, "--suite", run.suite]
    if run.recipe is None:
        note = "" if run.seed == run.evaluation.seed else PROMPTS.format(run=run.seed, evaluation=run.evaluation.seed)
        return [_line([*evaluate, *drawn, *scored, f"--seed={run.seed}"])], note
    recipe = run.recipe
    words = ["trajtune", "finetune", "--agent", agent, *drawn, "--out", DELTA_PLACE]
    words += _options({"algorithm": recipe.algorithm, "tuning": recipe.tuning, "std": recipe.std})
    words += _options(asdict(recipe.training))
    words += [f"--set={pair}" for pair in _pairs(recipe.options)]
    words += [f"--set-tuning={pair}" for pair in _pairs(recipe.tuning_options)]
    after = [*evaluate, "--delta", DELTA_PLACE, *scored, f"--seed={run.evaluation.seed}"]
    return [_line(words), _line(after)], ""


def _setting(setting: Setting) -> dict[str, Any]:
    return {**asdict(setting), "quality": str(setting.quality)}  # --quality=None takes all of them together


def _options(values: Mapping[str, Any]) -> list[str]:
    """An equals sign, so that a value that begins with a dash is one; what has no value is left to its default."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in values.items() if value is not None]


def _pairs(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        yield f"{name}={value if _bare(value) else json.dumps(value)}"


def _bare(value: Any) -> bool:
    """A word that is read as the same word; one such as ``true`` needs its quotes."""
    if not isinstance(value, str):
        return False
    try:
        json.loads(value)
    except ValueError:
        return True
    return False


def _line(words: list[str]) -> str:
    return shlex.join(words)


@cache
def shipped_by_digest() -> dict[str, str]:
    """Return what the agents and datasets that come with the package are called, by digest."""
    found = {}
    for folder in sorted(Path(str(files("trajtune").joinpath("assets"))).iterdir()):
        if (folder / "agent" / AGENT.header).is_file():
            header = read_header(folder / "agent", AGENT, verify=False)
            found[str(header["identity"])] = f"{ASSET}{folder.name}/agent"
        if (folder / "data" / DATASET.header).is_file():
            found[Dataset.open(folder / "data", verify=False).identity()] = f"{ASSET}{folder.name}/data"
    return found
