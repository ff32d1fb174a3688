"""What a study found: statistics and tables, from its result files alone, without torch."""

from trajtune.report.cells import CellSummary, Comparison, summarise
from trajtune.report.figure import draw
from trajtune.report.markdown import cell_row, columns, title, to_markdown

__all__ = ["CellSummary", "Comparison", "cell_row", "columns", "draw", "summarise", "title", "to_markdown"]
