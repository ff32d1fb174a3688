"""trajtune pack"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from trajtune.cli.output import Output


@dataclass
class Pack:
    """Put all results of a study, finished or not, into one small file. report reads it as it reads the folder."""

    folder: Annotated[Positional[Path], arg(metavar="FOLDER")]
    """Folder of the results."""
    out: Path
    """The file, such as table1.jsonl.xz."""
    json: bool = False
    """Print one JSON object."""

    def run(self, out: Output) -> None:
        from trajtune.study.stored import pack

        count = pack(self.folder, self.out)
        size = self.out.stat().st_size
        out.say(f"{count} results are in {self.out}, {size / 1e6:.2f} MB")
        out.result({"out": str(self.out), "results": count, "bytes": size})
