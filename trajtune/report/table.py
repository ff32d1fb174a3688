"""A table as it would be printed, and its three forms: Markdown, LaTeX and CSV."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

Mark = Literal["", "best", "tied"]
"""The best of its row, and what is not told apart from it."""


@dataclass(frozen=True)
class Entry:
    """One cell of a table: a number with its spread, or why there is none."""

    value: float | None = None
    spread: float | None = None
    mark: Mark = ""
    note: str = ""
    """Such as "1 diverged"; alone where there is no value."""


@dataclass(frozen=True)
class Row:
    """A line: its name and an entry a column; a word where a column holds words."""

    name: str
    entries: tuple[Entry | str, ...]


@dataclass(frozen=True)
class Block:
    """Lines under a heading of their own; without one where it is empty."""

    heading: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """What a table says, whatever its form."""

    name: str
    """As files are called."""
    title: str
    head: tuple[str, ...]
    """Above the names, then a word a column."""
    blocks: tuple[Block, ...]
    digits: int = 2
    notes: tuple[str, ...] = field(default=())
    """Sentences below it."""

    @property
    def marked(self) -> bool:
        """Whether any entry is marked, so that the marks have to be explained."""
        entries = (entry for block in self.blocks for row in block.rows for entry in row.entries)
        return any(isinstance(entry, Entry) and entry.mark for entry in entries)

    @property
    def plain_notes(self) -> list[str]:
        """The sentences below it, marks explained, for what is not Markdown."""
        return [*([LEGEND.replace("**", "")] if self.marked else []), *self.notes]


LONG = 40
"""Letters beyond which a word is a sentence."""
LEGEND = (
    "**Best** of its row in bold; † is not told apart from it (paired, 95%, Holm within the row; that it "
    "was picked for being best is not counted)."
)


def markdown(table: Table) -> str:
    """Write it as Markdown, a heading above it."""
    lines = [f"### {text(table.title)}", ""]
    for block in table.blocks:
        if block.heading:
            lines += [f"**{text(block.heading)}**", ""]
        lines.append(_pipes(map(text, table.head)))
        lines.append(_pipes(["---", *["---:"] * (len(table.head) - 1)]))
        for row in block.rows:
            lines.append(_pipes([text(row.name), *(_plain(entry, table.digits) for entry in row.entries)]))
        lines.append("")
    notes = [*([LEGEND] if table.marked else []), *map(text, table.notes)]
    return "\n".join([*lines, *(line for note in notes for line in (note, ""))])


def words_in(table: Table, column: int) -> bool:
    """Return whether a column holds sentences, which are set to the left and broken."""
    rows = [row for block in table.blocks for row in block.rows]
    shown = [row.name if column == 0 else row.entries[column - 1] for row in rows]
    return any(isinstance(each, str) and len(each) > LONG for each in shown)


def text(words: str) -> str:
    """Keep words from being read as Markdown or HTML: names and labels come from files."""
    for sign, safe in (
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ("|", "\\|"),
        ("\n", " "),
        ("`", "\\`"),
        ("](", "]\\("),
    ):
        words = words.replace(sign, safe)
    return words


def _pipes(words: Iterable[str]) -> str:
    return "| " + " | ".join(words) + " |"


def number(value: float | None, digits: int) -> str:
    """Write a number, or a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def with_spread(entry: Entry, digits: int) -> str:
    """Write an entry's number and its spread, without mark and note."""
    spread = "" if entry.spread is None else f" ± {number(entry.spread, digits)}"
    return number(entry.value, digits) + spread


def _plain(entry: Entry | str, digits: int) -> str:
    if isinstance(entry, str):
        return text(entry)
    if entry.value is None:
        return text(entry.note) or "-"
    shown = with_spread(entry, digits)
    shown = f"**{shown}**" if entry.mark == "best" else f"{shown} †" if entry.mark == "tied" else shown
    return f"{shown} ({text(entry.note)})" if entry.note else shown


def latex(table: Table) -> str:
    """Write it as a ``table`` with ``booktabs`` rules; wide ones are scaled to the line."""
    wide = [words_in(table, i) for i in range(len(table.head))]
    across = f"{0.9 / max(1, sum(wide)):.2f}\\textwidth"  # several columns of sentences share the line
    columns = "".join(f"p{{{across}}}" if each else "l" if i == 0 else "r" for i, each in enumerate(wide))
    lines = ["\\begin{table}[t]", "\\centering", f"\\caption{{{tex(table.title)}}}", f"\\label{{tab:{table.name}}}"]
    lines += ["\\resizebox{\\textwidth}{!}{%", f"\\begin{{tabular}}{{{columns}}}", "\\toprule"]
    lines.append(" & ".join(map(tex, table.head)) + " \\\\")
    for block in table.blocks:
        lines.append("\\midrule")
        if block.heading:
            lines.append(f"\\multicolumn{{{len(table.head)}}}{{c}}{{{tex(block.heading)}}} \\\\")
            lines.append("\\midrule")
        for row in block.rows:
            cells = [tex(row.name), *(_tex_entry(entry, table.digits) for entry in row.entries)]
            lines.append(" & ".join(cells) + " \\\\")
    lines += ["\\bottomrule", "\\end{tabular}}"]
    lines += [f"\\\\ \\footnotesize {tex(note)}" for note in table.plain_notes]
    return "\n".join([*lines, "\\end{table}", ""])


_TEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": "\\textbackslash{}",
    "|": "\\textbar{}",
    "[": "{[}",  # behind the end of a line it would be read as a length
    "]": "{]}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "±": "$\\pm$",
    "α": "$\\alpha$",
    "−": "$-$",
    "†": "$^\\dagger$",
    "\n": " ",
}


def tex(words: str) -> str:
    """Keep words from being read as LaTeX; what its standard fonts may lack becomes a question mark."""
    return "".join(_TEX.get(c, c if " " <= c <= "~" else "?") for c in words)


def _tex_entry(entry: Entry | str, digits: int) -> str:
    if isinstance(entry, str):
        return tex(entry)
    if entry.value is None:
        return tex(entry.note) or "--"
    shown = number(entry.value, digits)
    spread = "" if entry.spread is None else f"_{{\\pm {number(entry.spread, digits)}}}"
    best = f"\\mathbf{{{shown}}}" if entry.mark == "best" else shown
    dagger = "^{\\dagger}" if entry.mark == "tied" else ""
    shown = f"${best}{spread}{dagger}$"
    return f"{shown} ({tex(entry.note)})" if entry.note else shown


def document(tables: Sequence[Table]) -> str:
    """Write a LaTeX document of tables, which compiles as it is."""
    head = ["\\documentclass{article}", "\\usepackage{booktabs,graphicx,amsmath}", "\\usepackage[margin=2cm]{geometry}"]
    return "\n".join([*head, "\\begin{document}", "\\clearpage\n".join(map(latex, tables)), "\\end{document}", ""])


def csv_text(tables: Sequence[Table]) -> str:
    """Write one line an entry: title, block, row, column, value, spread, mark, note; numbers in full."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["table", "block", "row", "column", "value", "spread", "mark", "note"])
    for table in tables:
        for block in table.blocks:
            for row in block.rows:
                for column, entry in zip(table.head[1:], row.entries, strict=True):
                    place = [_cell(each) for each in (table.title, block.heading, row.name, column)]
                    if isinstance(entry, str):
                        shown = [entry, "", "", ""] if _is_number(entry) else ["", "", "", _cell(entry)]
                        writer.writerow([*place, *shown])
                    else:
                        numbers = ["" if v is None else repr(v) for v in (entry.value, entry.spread)]
                        writer.writerow([*place, *numbers, entry.mark, _cell(entry.note)])
    return out.getvalue()


def _is_number(words: str) -> bool:
    try:
        return math.isfinite(float(words))
    except ValueError:
        return False


def _cell(words: str) -> str:
    """A spreadsheet takes what begins like this for a formula; a dash alone it does not."""
    return f"'{words}" if len(words) > 1 and words[:1] in ("=", "+", "-", "@", "\t", "\r") else words
