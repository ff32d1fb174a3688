"""Code in Markdown: fenced and indented blocks, what language they are in, and the marks before them.

A mark is an HTML comment on its own line before a block; blank lines and further marks may stand between:

    <!-- test: skip because REASON -->   the block is not run
    <!-- test: setup NAME -->            a new story begins, in a fresh folder that replacements.SETUPS[NAME] prepares
    <!-- test: file PATH -->             the block is written to PATH in the story's folder
    <!-- test: text -->                  the block is output or an illustration (also: shell, python, yaml), whatever it
                                         looks like

Blocks without a mark run in the order of the document, in the story that is going on.
"""

import ast
import re
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

LANGUAGES = {"sh": "shell", "bash": "shell", "shell": "shell", "console": "shell", "py": "python", "python": "python"}
LANGUAGES |= {"yaml": "yaml", "yml": "yaml"}
MARK = re.compile(r"^<!--\s*test:\s*(.*?)\s*-->$")
COMMAND = re.compile(r"^\s*(trajtune |import trajtune|from trajtune)", re.MULTILINE)
KINDS = ("shell", "python", "yaml", "text")
PROGRAMS = ("trajtune", "make", "python", "pip", "git", "source", "cd")
"""A block whose lines all begin with one of these is shell, where nothing says what it is."""


@dataclass
class Block:
    """One block of code: where it begins, its language, its text without indentation, and its marks."""

    file: str
    line: int
    language: str
    text: str
    skip: str | None = None
    setup: str | None = None
    path: str | None = None

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass
class _Reader:
    file: str
    blocks: list[Block] = field(default_factory=list)
    marks: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, language: str | None, text: str) -> None:
        block = Block(self.file, line, language or guess(text), text)
        for where, mark in self.marks:
            _apply(block, mark, f"{self.file}:{where}")
        settled = any(mark == "text" or mark.startswith("skip") for _, mark in self.marks)
        if block.language == "text" and COMMAND.search(text) and not settled:
            raise ValueError(f"{block.place}: commands among other lines; mark the block as text, shell or skip")
        self.blocks.append(block)
        self.marks = []


def read_blocks(path: Path, root: Path) -> list[Block]:
    """Return the blocks of a Markdown file in order."""
    return parse(path.read_text(encoding="utf-8"), path.relative_to(root).as_posix())


def parse(text: str, file: str = "text") -> list[Block]:
    """Return the blocks of Markdown. A wrong or a dangling mark is a ``ValueError`` that names its line."""
    reader, lines, i = _Reader(file), text.splitlines(), 0
    while i < len(lines):
        line = lines[i]
        if fence := re.match(r"^(\s*)(`{3,}|~{3,})\s*(\w*)", line):
            end = next((j for j in range(i + 1, len(lines)) if lines[j].strip() == fence[2]), None)
            if end is None:
                raise ValueError(f"{file}:{i + 1}: the fence never closes")
            language = LANGUAGES.get(fence[3], "text") if fence[3] else None
            reader.add(i + 2, language, textwrap.dedent("\n".join(lines[i + 1 : end])))
            i = end + 1
        elif _begins_indented(lines, i):
            end = i
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            reader.add(i + 1, None, textwrap.dedent("\n".join(lines[i:end])).rstrip())
            i = end
        elif mark := MARK.match(line.strip()):
            reader.marks.append((i + 1, mark[1]))
            i += 1
        else:
            if line.strip() and reader.marks:
                raise ValueError(f"{file}:{reader.marks[0][0]}: the mark stands before no block")
            i += 1
    if reader.marks:
        raise ValueError(f"{file}:{reader.marks[0][0]}: the mark stands before no block")
    return reader.blocks


def _begins_indented(lines: list[str], i: int) -> bool:
    """Tell whether an indented block begins: after a blank line, and not as the continuation of a list item."""
    if not (lines[i].startswith("    ") and lines[i].strip()) or (i and lines[i - 1].strip()):
        return False
    before = next((line for line in reversed(lines[:i]) if line.strip() and not line.startswith("    ")), "")
    return not re.match(r"^\s*([-*+]|\d+\.)\s", before)


def _apply(block: Block, mark: str, place: str) -> None:
    word, _, rest = mark.partition(" ")
    if word == "skip" and rest.startswith("because ") and rest.removeprefix("because ").strip():
        block.skip = rest.removeprefix("because ").strip()
    elif word == "setup" and rest:
        block.setup = rest
    elif word == "file" and rest:
        block.path = rest
    elif word in KINDS and not rest:
        block.language = word
    else:
        known = f"skip because REASON, setup NAME, file PATH, {', '.join(KINDS)}"
        raise ValueError(f"{place}: unknown mark {mark!r}; there are {known}")


def guess(text: str) -> str:
    """Return the language of a block that does not say it: shell, python, or text."""
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]
    if lines and all(re.match(r"^(\w+=\S+ )*(" + "|".join(PROGRAMS) + r")( |$)", line) for line in lines):
        return "shell"
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return "text"
    return "python" if any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(tree)) else "text"


@dataclass
class Story:
    """Blocks that belong together: they run in order, in one folder, with one set of Python names."""

    name: str
    setup: str
    blocks: list[Block]


def stories(blocks: list[Block]) -> list[Story]:
    """Split a document's blocks where a setup is marked; what comes before the first begins in an empty folder."""
    found: list[Story] = []
    for block in blocks:
        if block.setup is not None or not found:
            found.append(Story(f"{block.place}-{block.setup or 'empty'}", block.setup or "empty", []))
        found[-1].blocks.append(block)
    return found
