"""trajtune report"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from trajtune.cli.output import Output
from trajtune.study.cell import ZERO_SHOT

if TYPE_CHECKING:
    from trajtune.report.cells import Comparison


@dataclass
class Report:
    """Show what a study has found so far: every cell beside a baseline, over the same episodes."""

    folder: Annotated[Positional[Path], arg(metavar="FOLDER")]
    """Folder of the results, or a pack of them."""
    baseline: str = ZERO_SHOT
    """What cells are compared with: zero-shot, or an algorithm of the study under the same tuning, such as sft."""
    markdown: Path | None = None
    """Also write the tables there."""
    figure: Path | None = None
    """Also draw every cell's gain over the baseline there, as PNG."""
    json: bool = False
    """Print one JSON object."""

    def run(self, out: Output) -> None:
        from trajtune.errors import UserError
        from trajtune.files import check_replaceable, write_text

        if self.markdown is not None:
            check_replaceable(self.markdown, b"## ", "tables")
        if self.figure is not None:
            if self.figure.suffix.lower() in (".pdf", ".svg", ".jpg", ".jpeg", ".eps"):
                raise UserError(f"pictures are PNG: call it {self.figure.with_suffix('.png')}")
            check_replaceable(self.figure, b"\x89PNG", "a picture")
        comparisons = load_comparisons(self.folder, self.baseline)
        show(comparisons, out)
        for line in failures(self.folder):
            out.say(line)
        if self.markdown is not None:
            from trajtune.report.markdown import to_markdown

            write_text(self.markdown, to_markdown(comparisons))
        if self.figure is not None:
            from trajtune.report.figure import draw

            draw(comparisons, self.figure)
        out.result({"comparisons": [asdict(each) for each in comparisons]})


def load_comparisons(folder: Path, baseline: str = ZERO_SHOT) -> "list[Comparison]":
    """Read the results of a study and compare its cells."""
    from trajtune.report.cells import summarise
    from trajtune.study.stored import read_results

    return summarise(read_results(folder), baseline)


def failures(folder: Path) -> list[str]:
    """Return a line for every run that failed: which, and why."""
    from trajtune.study.stored import read_results

    failed = [r for r in read_results(folder) if r.failed is not None]
    name = "{0.algorithm} x {0.tuning} on task {0.task} of {1}, seed {0.seed}"
    return [f"failed: {name.format(r.run, r.group)}: {r.failed} (the same study tries it again)" for r in failed]


def show(comparisons: "Sequence[Comparison]", out: Output) -> None:
    """Print one table a suite and setting."""
    from trajtune.report.markdown import cell_row, columns, title

    for c in comparisons:
        cells = [*c.zero_shots, *c.cells]
        out.table(columns(c), [cell_row(cell, c) for cell in cells], f"{title(c)}: {', '.join(c.tasks)}")
