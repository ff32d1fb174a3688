"""trajtune inspect"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from trajtune.cli.output import Output, number


@dataclass
class Inspect:
    """Say what a saved agent, delta or dataset is: sizes, shapes, provenance."""

    folder: Positional[Path]
    json: bool = False

    def run(self, out: Output) -> None:
        from trajtune.agents.saving import CONFIG
        from trajtune.data.store import METADATA
        from trajtune.errors import UserError
        from trajtune.tunings.saving import META

        kinds = {CONFIG: _agent, META: _delta, METADATA: _dataset}
        for name, show in kinds.items():
            if (self.folder / name).exists():
                out.result(show(self.folder, out))
                return
        raise UserError(f"{self.folder} is not an agent, a delta or a dataset: it has none of {', '.join(kinds)}")


def _agent(folder: Path, out: Output) -> dict[str, Any]:
    from trajtune.agents import load_agent
    from trajtune.tunings.sizes import as_text, tuning_sizes

    saved = load_agent(folder)
    config, sizes = asdict(saved.agent.config), tuning_sizes(saved.agent.config)
    out.table(["agent", str(folder)], [[name, str(value)] for name, value in config.items()], left=2)
    rows = [[name, f"{numbers:,}", as_text(numbers)] for name, numbers in sizes.items()]
    out.table(["tuning", "numbers", "size (fp32)"], rows)
    provenance = {k: v for k, v in saved.provenance.items() if k != "log"}
    _provenance(provenance, out)
    out.say(f"digest {saved.digest}")
    tensors = {name: list(t.shape) for name, t in saved.agent.state_dict().items()}
    return {"kind": "agent", "config": config, "sizes": sizes, "digest": saved.digest} | {
        "tensors": tensors,
        "provenance": saved.provenance,
    }


def _delta(folder: Path, out: Output) -> dict[str, Any]:
    from trajtune.files import read_arrays
    from trajtune.tunings.saving import delta_file, read_delta_metadata
    from trajtune.tunings.sizes import as_text

    meta = read_delta_metadata(folder)
    arrays = read_arrays(folder / delta_file(meta, folder), "delta")
    numbers = sum(array.size for array in arrays.values())
    out.table(["tensor", "shape"], [[name, str(array.shape)] for name, array in arrays.items()])
    name = f"{meta.get('algorithm', 'an unnamed algorithm')} x {meta['tuning']}"
    out.say(f"delta of {name}: {numbers:,} numbers, {as_text(numbers)}")
    _provenance({k: v for k, v in meta.items() if k not in ("log", "format", "version")}, out)
    tensors = {name: list(array.shape) for name, array in arrays.items()}
    return {"kind": "delta", "numbers": numbers, "tensors": tensors, "metadata": meta}


def _dataset(folder: Path, out: Output) -> dict[str, Any]:
    import numpy as np

    from trajtune.data import Dataset

    data = Dataset.open(folder)
    flat = data.trajectories
    rows = []
    for task in sorted(set(flat.task.tolist())):
        reference = data.references(task)
        row = [str(task), str(data.metadata.get("tasks", {}).get(str(task), {}).get("name", ""))]
        row += [number(reference.get("random")), number(reference.get("expert"))]
        for code in range(len(data.qualities)):
            match = np.flatnonzero((flat.task == task) & (data.quality == code))
            mean = number(float(flat.subset(match).returns.mean())) if len(match) else "-"
            row.append(f"{len(match)} x {mean}")
        rows.append(row)
    out.table(["task", "what", "random", "expert", *(f"{q} (n x mean return)" for q in data.qualities)], rows, left=2)
    dims = f"{flat.observations.shape[1]} observations, {flat.actions.shape[1]} actions"
    out.say(f"dataset of {data.suite}: {len(flat)} trajectories, {flat.steps:,} steps, {dims}; all checksums match")
    _provenance(data.metadata.get("collection", {}), out)
    return {"kind": "dataset", "metadata": data.metadata}


def _provenance(values: dict[str, Any], out: Output) -> None:
    rows = [[name, _short(value)] for name, value in values.items()]
    out.table(["provenance", ""], rows, left=2)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."
