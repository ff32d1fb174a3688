"""What the documents point to exists: links and their anchors, files that are named, commands and their options."""

import ast
import functools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.documents.blocks import MARK
from tests.documents.replacements import BUDGETS
from tests.documents.running import ROOT, help_of

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
MADE_FOR_THE_SITE = ("docs/api/",)
"""Pages that docs/site_pages.py makes when the site is built."""
LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?[^)]*\)")
NAMED = re.compile(r"`((?:\w+/)+[\w.-]+\.(?:py|md|yaml|toml|json|png))`")
"""A file in a code span. Pages leave out ``trajtune/`` where it is plain."""
PLACES = ("trajtune", "tests", "docs", "studies", "benchmarks", "examples")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(text: str) -> str:
    """Markdown without its code blocks, and with code spans kept."""
    text = re.sub(r"^(`{3,}).*?^\1\s*$", "", text, flags=re.MULTILINE | re.DOTALL)
    return "\n".join(line for line in text.splitlines() if not re.match(r"^ {4,}\S", line))


@functools.cache
def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MkDocs make them alike for plain words."""
    headings = re.findall(r"^#+ +(.*)$", prose(path.read_text(encoding="utf-8")), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in LINK.findall(prose(page.read_text(encoding="utf-8"))):
        if re.match(r"^(https?|mailto):", target):
            continue
        place, _, anchor = target.partition("#")
        path = (page.parent / place).resolve() if place else page
        if not path.is_relative_to(ROOT) or name_of(path).startswith(MADE_FOR_THE_SITE):
            ok = path.is_relative_to(ROOT)
        else:
            ok = path.exists() and (not anchor or path.suffix != ".md" or anchor in anchors(path))
        if not ok:
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_named_files_exist(page: Path) -> None:
    packages = {path.name for path in (ROOT / "trajtune").iterdir() if path.is_dir()}
    missing = []
    for name in sorted(set(NAMED.findall(page.read_text(encoding="utf-8")))):
        first = name.split("/")[0]
        known = first in PLACES or first in packages
        if known and "NAME" not in name and not any((ROOT / top / name).exists() for top in ("", "trajtune", "docs")):
            missing.append(name)
    assert missing == []


@functools.cache
def defined(folder: str) -> set[str]:
    """Return ``module.name`` and ``Class.method`` of everything that is defined in a folder's sources."""
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(f"{path.stem}.{node.name}")
            if isinstance(node, ast.ClassDef):
                found |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return found


def test_the_paper_map_names_what_there_is() -> None:
    rows = [row for row in (ROOT / "docs" / "paper-map.md").read_text(encoding="utf-8").splitlines() if row[:1] == "|"]
    spans = {span for row in rows for span in re.findall(r"`(\w+\.\w+|[Tt]est\w+)`", row) if not span.endswith(".md")}
    names = defined("trajtune") | {name.partition(".")[2] for name in defined("tests")}
    assert sorted(spans - names) == []


def leaves(nav: Any) -> list[str]:
    """Return the pages of a site's navigation."""
    if isinstance(nav, str):
        return [nav]
    return [leaf for each in (nav.values() if isinstance(nav, dict) else nav) for leaf in leaves(each)]


def test_every_page_is_on_the_site() -> None:
    nav = leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(page for page in pages - set(nav) if not re.match(r"decisions/\d", page)) == []
    assert sorted(set(nav) - pages) == []


def test_every_decision_is_listed() -> None:
    listed = re.findall(r"\((\d[\w-]*\.md)\)", (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8"))
    there = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert listed == there
    assert [int(name[:3]) for name in there] == list(range(1, len(there) + 1))


def mentions(text: str) -> list[tuple[str, list[str]]]:
    """Return every ``trajtune SUBCOMMAND`` in code of a page, with the options that follow it on its line."""
    text = "\n".join(line for line in text.splitlines() if not MARK.match(line.strip())).replace("\\\n", " ")
    blocks = re.findall(r"^(?: {4,}|\$ )?(trajtune .*)$", text, re.MULTILINE)
    spans = re.findall(r"`(trajtune [^`]*)`", text)
    found = []
    for piece in [*blocks, *spans]:
        for command in re.split(r"&&|;|\|", piece.split("  #")[0]):
            words = command.split()
            if len(words) > 1 and words[0] == "trajtune" and re.fullmatch(r"[a-z][a-z-]*", words[1]):
                found.append((words[1], OPTION.findall(command)))
    return found


def test_mentions_are_found() -> None:
    text = "Say `trajtune study FILE --out DIR`.\n\n    trajtune collect a --out b   # --not-one\n    $ other\n"
    assert mentions(text) == [("collect", ["--out"]), ("study", ["--out"])]


WITH_COMMANDS = [page for page in PAGES if page.name != "CHANGELOG.md" and mentions(page.read_text(encoding="utf-8"))]
help_of = functools.cache(help_of)


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_commands_and_options_exist(page: Path) -> None:
    wrong = []
    for command, options in mentions(page.read_text(encoding="utf-8")):
        known = set(OPTION.findall(help_of(command)))
        if not known:
            wrong.append(f"trajtune {command}")
        wrong += [f"trajtune {command} {option}" for option in options if option not in known]
    assert sorted(set(wrong)) == []


@pytest.mark.parametrize("command", BUDGETS)
def test_budgets_name_options_that_exist(command: str) -> None:
    assert sorted(set(BUDGETS[command]) - set(OPTION.findall(help_of(command)))) == []
