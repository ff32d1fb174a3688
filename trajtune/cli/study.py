"""trajtune study"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from trajtune.cli.fields import Pairs, with_defaults
from trajtune.cli.output import Output
from trajtune.study.runners import LOCAL, RUNNERS, run_study


@dataclass
class Study:
    """Run the cells that a YAML file declares and show the table. The same command continues where it was stopped."""

    file: Annotated[Positional[str], arg(metavar="STUDY")]
    """A YAML file, such as studies/confirmation.yaml, or the name of a study that comes with trajtune, such as first.
    Paths in a file are relative to the working directory."""
    out: Path
    """Folder of the results: one small file a cell and task."""
    workers: int = 0
    """Processes of one thread each; 0 is one a core, or what suits the runner. The results do not depend on it."""
    on: str = LOCAL
    """Where the runs are done: local, ray or slurm."""
    set_runner: Pairs = field(default_factory=list)
    """An option of the runner, such as partition=gpu."""
    json: bool = False
    """Print one JSON object."""

    @staticmethod
    def choices() -> Mapping[str, Mapping[str, str]]:
        from trajtune.shipped import presets

        runners = {n: with_defaults(e.summary, asdict(e.config())) for n, e in RUNNERS.items()}
        return {"studies that come with trajtune": presets(), "runners, and what --set-runner takes": runners}

    def run(self, out: Output) -> None:
        from trajtune.cli.report import failures, load_comparisons, show
        from trajtune.configs import parse_options
        from trajtune.processes import count_workers
        from trajtune.study.declaration import load_study

        workers = count_workers(self.workers) if self.on == LOCAL else self.workers
        run_study(load_study(self.file), self.out, workers, out.progress, self.on, parse_options(self.set_runner))
        out.close()
        comparisons = load_comparisons(self.out)
        show(comparisons, out)
        for line in failures(self.out):
            out.say(line)
        out.result({"out": str(self.out), "comparisons": [asdict(each) for each in comparisons]})
