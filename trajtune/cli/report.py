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
    from trajtune.report.writing import Given


@dataclass
class Report:
    """Show what a study has found so far, and write its tables, figures, claims and page."""

    folder: Annotated[Positional[Path], arg(metavar="FOLDER")]
    """Folder of the results, or a pack of them."""
    out: Path | None = None
    """Also write all that the results allow into this folder: begin with its index.html."""
    baseline: str = ZERO_SHOT
    """What cells are compared with: zero-shot, or an algorithm of the study under the same tuning, such as sft."""
    only: str = ""
    """Parts to write, such as table1,figure2,page; all, if it is left out."""
    json: bool = False
    """Print one JSON object."""

    def run(self, out: Output) -> None:
        from trajtune.errors import UserError
        from trajtune.report.writing import check, given_in, write_report

        parts = tuple(part.strip() for part in self.only.split(",") if part.strip())
        check(parts, self.out)
        if parts and self.out is None:
            raise UserError("--only says what to write: say where with --out")
        given = given_in(self.folder, self.baseline)
        show(given.comparisons, out)
        for line in failures(given):
            out.say(line)
        if given.mixed:
            out.say(given.mixed)
        written = {} if self.out is None else write_report(given, self.out, parts, out.progress)
        for part, paths in written.items():
            out.say(f"{part}: {', '.join(map(str, paths))}")
        out.result(
            {
                "comparisons": [asdict(each) for each in given.comparisons],
                "mixed": given.mixed,
                "written": {part: [str(path) for path in paths] for part, paths in written.items()},
            }
        )


def failures(given: "Given") -> list[str]:
    """Return a line for every run that failed: which, and why."""
    failed = [r for r in given.results if r.failed is not None]
    name = "{0.algorithm} x {0.tuning} on task {0.task} of {1}, seed {0.seed}"
    return [f"failed: {name.format(r.run, r.group)}: {r.failed} (the same study tries it again)" for r in failed]


def show(comparisons: "Sequence[Comparison]", out: Output) -> None:
    """Print one table a suite and setting."""
    from trajtune.report.cells_table import cell_row, columns, notes
    from trajtune.report.wording import comparison_title

    for c in comparisons:
        cells = [*c.zero_shots, *c.cells]
        out.table(columns(c), [cell_row(cell, c) for cell in cells], comparison_title(c))
        for note in notes(c):
            out.say(note)
