"""What a study found: statistics and tables, from its result files alone, without torch."""

from trajtune.report.cells import CellSummary, Comparison, summarise
from trajtune.report.figure import draw
from trajtune.report.markdown import COLUMNS, cell_row, title, to_markdown

__all__ = ["COLUMNS", "CellSummary", "Comparison", "cell_row", "draw", "summarise", "title", "to_markdown"]
