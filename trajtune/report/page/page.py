"""One HTML file that shows a study: no network, nothing beside it, under five megabytes.

Tabulator draws the table of cells because it sorts, filters and is read out as a grid without a framework around it;
Plotly's basic bundle draws the figures because it has points, lines and bars with hovering and nothing else. Both are
MIT, are copied whole into ``vendor`` and are read nowhere else.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from trajtune.errors import UserError
from trajtune.files import check_replaceable, write_atomically

START = "<!doctype html>\n<!-- trajtune report -->"
"""What a page of ours begins with: another file is not written over."""
LIMIT = 5_000_000
"""Bytes, libraries included: what can be mailed, and opened on a phone."""
LIBRARIES = ("tabulator.min.js", "plotly-basic.min.js")
LICENCES = ("tabulator.LICENSE.txt", "plotly.LICENSE.txt")
SCRIPTS = ("numbers.js", "parts.js", "figures.js", "compare.js", "cell.js", "app.js")
"""Ours, in the order in which they need each other; together they are one script."""
HERE = "trajtune.report.page"


def write_page(path: Path, data: Mapping[str, Any]) -> None:
    """Write what ``page_data`` gave as one HTML file: old or new, never half."""
    content = page(data).encode()
    check_replaceable(path, START.encode(), "a report's page")
    write_atomically(path, lambda p: _write(p, content))


def page(data: Mapping[str, Any]) -> str:
    """Return the page. If it were too large, single episodes are left out, then every run's curve, and it says so."""
    for smaller in _ever_smaller(data):
        text = _page(smaller)
        if (size := len(text.encode())) < LIMIT:
            return text
    raise UserError(f"the page would have {size / 1e6:.1f} MB, of at most {LIMIT / 1e6:.0f}: report fewer results")


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _ever_smaller(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield data
    cells = [{**cell, "results": [{**r, "episodes": []} for r in cell["results"]]} for cell in data["cells"]]
    yield {**data, "cells": cells, "omitted": ["single episodes"]}
    cells = [{**cell, "curve": {**cell["curve"], "runs": []}} for cell in cells]
    yield {**data, "cells": cells, "omitted": ["single episodes", "curves of single runs"]}
    cells = [{**cell, "results": []} for cell in cells]
    yield {**data, "cells": cells, "omitted": ["single runs and their curves"]}


def _page(data: Mapping[str, Any]) -> str:
    folder = files(HERE)
    libraries = [_without_map(_text(folder.joinpath("vendor", name))) for name in LIBRARIES]
    ours = "(() => {\n" + "\n".join(_text(folder.joinpath(name)) for name in SCRIPTS) + "})();"
    scripts = [*libraries, ours]
    licences = "\n".join(_text(folder.joinpath("vendor", name)) for name in LICENCES)
    groups = ", ".join(dict.fromkeys(place["group"] for place in data["places"]))
    parts = {
        "start": START,
        "policy": _policy(scripts),
        "title": html.escape(f"trajtune report: {groups}")
        .encode(errors="replace")
        .decode(),  # half a letter is no text
        "licences": f"<!--\n{licences}-->",
        "style": _without_map(_text(folder.joinpath("vendor", "tabulator.min.css")))
        + _text(folder.joinpath("style.css")),
        "data": _embedded(data),
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    # In one pass: what is put in is never looked into.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _text(folder.joinpath("template.html")))


def _policy(scripts: list[str]) -> str:
    """Nothing is fetched, and no script runs but these: a label that slipped through as HTML could do nothing.

    Plotly and Tabulator set styles as they draw, so those may stand anywhere.
    """
    sums = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{each}'" for each in sums)
    rest = "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; script-src {allowed}; {rest}"


def _embedded(data: Mapping[str, Any]) -> str:
    """JSON that no label can end: the browser's parser sees no tag in it."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _without_map(text: str) -> str:
    """A reference to a source map makes developers' tools ask the network for it."""
    return re.sub(r"(//|/\*)# sourceMappingURL=.*", "", text)


def _text(file: Traversable) -> str:
    return file.read_text("utf-8")
