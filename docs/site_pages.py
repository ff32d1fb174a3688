"""What the site shows beside the pages in this folder: root pages and an API reference (an MkDocs hook).

The reference has one page a package and one entry a module, read from the sources without importing them, so that a new
module is in it as soon as its file is there.
"""

import ast
import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "trajtune"
BESIDE = {"Contributing": "CONTRIBUTING.md", "Changelog": "CHANGELOG.md"}
"""Titles and files of the root's pages that are shown as they are."""


SHAPE = re.compile(r"cross-reference target '[A-Z0-9_, *+-]+'$")
"""A docstring's shape, such as an array [B] of rows [D], may read like a link in Markdown; it is none."""


def on_config(config: Any) -> Any:
    """Add to the navigation what is found rather than listed."""
    for name in list(logging.root.manager.loggerDict):
        if "mkdocs_autorefs" in name:
            logging.getLogger(name).addFilter(lambda said: not SHAPE.search(said.getMessage()))
    config.nav += [{title: name.lower()} for title, name in BESIDE.items()]
    config.nav.append({"API": [{name: f"api/{name}.md"} for name in _packages()]})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that have no file in the docs folder."""
    for name in BESIDE.values():
        text = _moved((ROOT / name).read_text(encoding="utf-8"))
        files.append(File.generated(config, name.lower(), content=text))
    for name, modules in _packages().items():
        files.append(File.generated(config, f"api/{name}.md", content=_reference(name, modules)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Name files of the repository outside the docs folder instead of linking to what the site does not have."""

    def outside(match: re.Match[str]) -> str:
        text, target = match.group(1), match.group(2)
        if "://" in target or target.startswith("#"):
            return match.group(0)
        place = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page.file.src_uri), target))
        if place in BESIDE.values():
            up = posixpath.relpath(place.lower(), posixpath.dirname(page.file.src_uri) or ".")
            return f"[{text}]({up})"
        return match.group(0) if place.startswith("docs/") else f"{text} (`{place}`)"

    return re.sub(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)", outside, markdown)


def _packages() -> dict[str, list[str]]:
    """Return the modules of each page of the reference: the package's own files first, then every folder."""
    pages = {"trajtune": _modules(PACKAGE)}
    for folder in sorted(path for path in PACKAGE.rglob("*") if (path / "__init__.py").is_file()):
        if modules := _modules(folder):
            pages[".".join(folder.relative_to(ROOT).parts)] = modules
    return pages


def _modules(folder: Path) -> list[str]:
    """Return dotted names of a folder's documented public modules, the folder itself first."""
    files = sorted(folder.glob("*.py"), key=lambda path: (path.stem != "__init__", path.stem))
    public = [path for path in files if path.stem == "__init__" or not path.stem.startswith("_")]
    parts = [path.relative_to(ROOT).with_suffix("").parts for path in public if _docstring(path)]
    return [".".join(part[:-1] if part[-1] == "__init__" else part) for part in parts]


def _reference(name: str, modules: list[str]) -> str:
    # A package's own entry stands under the page's title, and without its modules, which have entries of their own.
    own = "\n    options: {show_submodules: false, show_root_heading: false, show_root_toc_entry: false}"
    blocks = [f"::: {module}{own if module == name else ''}" for module in modules]
    return "\n\n".join([f"# {name}", *blocks, ""])


def _docstring(path: Path) -> str | None:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def _moved(text: str) -> str:
    """Return a root page's text with its relative links rewritten as seen from the docs folder."""

    def seen(match: re.Match[str]) -> str:
        target = match.group(1)
        if "://" in target or target.startswith("#"):
            return match.group(0)
        return f"]({posixpath.relpath(target, 'docs')})"

    return re.sub(r"\]\(([^)\s]+)\)", seen, text)
