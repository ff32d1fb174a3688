"""trajtune unpack"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from trajtune.cli.output import Output


@dataclass
class Unpack:
    """Make a pack of results a study's folder again: the study goes on from it."""

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """What pack has made."""
    out: Path
    """The folder."""
    json: bool = False
    """Print one JSON object."""

    def run(self, out: Output) -> None:
        from trajtune.study.stored import unpack

        count = unpack(self.file, self.out)
        out.say(f"{count} results are in {self.out}")
        out.result({"out": str(self.out), "results": count})
