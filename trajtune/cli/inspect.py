"""trajtune inspect"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from trajtune.cli.output import Output, as_text, number
from trajtune.shipped import shipped

if TYPE_CHECKING:
    from trajtune.data.fewshot import Brief

TOLD = ("format", "digest", "files", "log", "briefs", "tasks", "references", "sources")
"""What is shown in another way, or is too long to be read. All of the header is in ``--json``."""


@dataclass
class Inspect:
    """Verify a folder that trajtune made, and say what it is: sizes, shapes, how it was made."""

    folder: Annotated[Positional[Path], arg(metavar="FOLDER")]
    """An agent, a delta, a dataset, a study, an expert or a demo."""
    json: bool = False
    """Print one JSON object."""

    def __post_init__(self) -> None:
        self.folder = shipped(str(self.folder))

    def run(self, out: Output) -> None:
        from trajtune.artifacts import AGENT, DATASET, DELTA, kind_of, read_header

        kind = kind_of(self.folder)
        shows: Mapping[Any, Callable[[Path, Output], dict[str, Any]]] = {
            AGENT: _agent,
            DELTA: _delta,
            DATASET: _dataset,
        }
        header = read_header(self.folder, kind)
        about = shows[kind](self.folder, out) if kind in shows else {}
        rows = [[name, as_text(value)] for name, value in _flat(header).items()]
        out.table([f"{kind.name} {self.folder}", ""], rows, left=2)
        out.say(f"all checksums match; digest {header['digest']}")
        out.result({"kind": kind.name, "digest": header["digest"], **about, "header": header})


def _agent(folder: Path, out: Output) -> dict[str, Any]:
    from trajtune.agents.saving import load_agent
    from trajtune.tunings.making import size_text, tuning_sizes

    saved = load_agent(folder)
    sizes = tuning_sizes(saved.agent)
    rows = [[name, f"{numbers:,}", size_text(numbers)] for name, numbers in sizes.items()]
    out.table(["tuning", "numbers", "size (fp32)"], rows)
    tensors = {name: list(t.shape) for name, t in saved.agent.state_dict().items()}
    spec = asdict(saved.agent.spec)  # type: ignore[call-overload]
    about = {"identity": saved.digest, "config": spec, "sizes": sizes, "tensors": tensors}
    return {**about, "briefs": _briefs(saved.briefs, out)}


def _delta(folder: Path, out: Output) -> dict[str, Any]:
    from trajtune.training.deltas import delta_arrays
    from trajtune.tunings.making import size_text

    recipe, briefs, arrays = delta_arrays(folder)
    numbers = sum(array.size for array in arrays.values())
    out.table(["tensor", "shape"], [[name, str(array.shape)] for name, array in arrays.items()])
    out.say(f"delta of {recipe.algorithm} x {recipe.tuning}: {numbers:,} numbers, {size_text(numbers)}")
    tensors = {name: list(array.shape) for name, array in arrays.items()}
    return {"numbers": numbers, "tensors": tensors, "briefs": _briefs(briefs, out)}


def _dataset(folder: Path, out: Output) -> dict[str, Any]:
    import numpy as np

    from trajtune.data.store import Dataset

    data = Dataset.open(folder)
    flat = data.trajectories
    rows, tasks = [], {}
    for task in sorted(set(flat.task.tolist())):
        reference, name = data.references(task), str(data.metadata.get("tasks", {}).get(str(task), {}).get("name", ""))
        found = {}
        for code, quality in enumerate(data.qualities):
            match = np.flatnonzero((flat.task == task) & (data.quality == code))
            mean = float(flat.subset(match).returns.mean()) if len(match) else None
            found[quality] = {"trajectories": len(match), "mean_return": mean}
        counts = [f"{q['trajectories']} x {number(q['mean_return'])}" for q in found.values()]
        rows.append([str(task), name, number(reference.get("random")), number(reference.get("expert")), *counts])
        tasks[str(task)] = {"name": name, "references": dict(reference), "qualities": found}
    out.table(["task", "what", "random", "expert", *(f"{q} (n x mean return)" for q in data.qualities)], rows, left=2)
    dims = f"{flat.observations.shape[1]} observations, {flat.actions.shape[1]} actions"
    out.say(f"dataset of {data.suite}: {len(flat)} trajectories, {flat.steps:,} steps, {dims}")
    return {"trajectories": len(flat), "steps": flat.steps, "tasks": tasks}


def _briefs(briefs: "Mapping[int, Brief]", out: Output) -> dict[str, Any]:
    from trajtune.data.fewshot import brief_texts

    rows = []
    for task, brief in sorted(briefs.items()):
        known = [number(brief.references.get(name)) for name in ("random", "expert")]
        prompts = "0" if brief.prompts is None else f"{len(brief.prompts)} x {brief.prompts.timesteps.shape[1]}"
        rows.append([str(task), prompts, number(brief.target_return), *known, "yes" if brief.delayed else "no"])
    out.table(["task", "prompts x steps", "asked for", "random", "expert", "delayed"], rows)
    return brief_texts(briefs)


def _flat(header: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The header's entries by dotted names, but for what is told otherwise."""
    found: dict[str, Any] = {}
    for name, value in header.items():
        if not prefix and name in TOLD:
            continue
        if isinstance(value, dict) and value:
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found
