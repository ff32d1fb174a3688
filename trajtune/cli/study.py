"""trajtune study"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from trajtune.cli.output import Output


@dataclass
class Study:
    """Run the cells that a YAML file declares and show the table. The same command continues where it was stopped."""

    file: Annotated[Positional[str], arg(metavar="STUDY")]
    """A YAML file, such as studies/confirmation.yaml, or the name of a study that comes with trajtune, such as first.
    Paths in a file are relative to the working directory."""
    out: Path
    """Folder of the results: one small file a cell and task."""
    workers: int = 0
    """Processes of one thread each; 0 is one a core. The results do not depend on it."""
    json: bool = False
    """Print one JSON object."""

    @staticmethod
    def choices() -> Mapping[str, Mapping[str, str]]:
        from trajtune.shipped import presets

        return {"studies that come with trajtune": presets()}

    def run(self, out: Output) -> None:
        from trajtune.cli.report import failures, load_comparisons, show
        from trajtune.processes import count_workers
        from trajtune.study.declaration import load_study
        from trajtune.study.runners.local import run_study

        workers = count_workers(self.workers)
        run_study(load_study(self.file), self.out, workers, out.progress)
        out.close()
        comparisons = load_comparisons(self.out)
        show(comparisons, out)
        for line in failures(self.out):
            out.say(line)
        out.result({"out": str(self.out), "comparisons": [asdict(each) for each in comparisons]})
