"""What a study found: statistics and tables, from its result files alone, without torch."""

from trajtune.report.cells import CellSummary, Comparison, summarise
from trajtune.report.figure import draw
from trajtune.report.markdown import to_markdown

__all__ = ["CellSummary", "Comparison", "draw", "summarise", "to_markdown"]
