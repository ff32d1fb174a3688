"""Where the results of a study are: in its folder, one file a run, or packed, all in one file that is sent around.

A pack is a text of JSON lines under xz (``xzcat`` shows it): a head that says which study it is and signs all that
follows, then a line a result with its place in the folder. Thousands of runs have a few MB.
"""

import hashlib
import json
import lzma
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trajtune.artifacts import STUDY, check_header, claimed, clear, read_header
from trajtune.errors import UserError, first_line
from trajtune.files import check_replaceable, read_json, regular_size, write_atomically, write_json
from trajtune.study.cell import ZERO_SHOT
from trajtune.study.results import Result, read_result, result_of

RESULTS = "*/*/*/seed-*/task-*.json"
"""Where they lie in a study's folder."""
PLACE = re.compile(r"(?:[^./\\\0][^/\\\0]*/){3}seed-\d+/task-\d+\.json", re.ASCII)
"""The same in a pack: it leads out of no folder."""
FORMAT, VERSION = "trajtune-pack", 1
XZ = b"\xfd7zXZ"
"""What a pack begins with."""
PACKED_LIMIT, LIMIT = 1 << 28, 1 << 31
"""Bytes of a pack, and of what it holds: more is none of ours."""


def read_results(place: Path | str) -> list[Result]:
    """Read every result in a study's folder or pack, in the order in which the study declares its cells, zero-shot
    first."""
    root = Path(place)
    if root.is_file():
        header, lines = read_pack(root)
        results = [result_of(value, f"{root}: {name}") for name, value in lines]
    else:
        header = read_header(root, STUDY)
        results = [read_result(path) for path in sorted(root.glob(RESULTS))]
    order, groups = _order(root, header)
    if not results:
        raise UserError(f"{root} has no results yet")

    def key(r: Result) -> tuple[bool, int, int, int, int]:
        name, group = (r.run.algorithm, r.run.tuning, r.label), groups.get(r.group, len(groups))
        return r.run.algorithm != ZERO_SHOT, group, order.get(name, len(order)), r.run.seed, r.run.task

    return sorted(results, key=key)


def _order(root: Path, header: dict[str, Any]) -> tuple[dict[tuple[str, str, str], int], dict[str, int]]:
    """The place of each algorithm x tuning in the study, and of each of its suites."""
    study: Any = header.get("study")
    try:
        names = [(a, t, str(m["label"])) for m in study["methods"] for a in m["algorithms"] for t in m["tunings"]]
        return {name: i for i, name in enumerate(names)}, {name: i for i, name in enumerate(study["suites"])}
    except (KeyError, TypeError):
        raise UserError(f"{root / STUDY.header} is damaged: it does not list the study's suites and methods") from None


def pack(folder: Path | str, path: Path | str) -> int:
    """Write all results of a study's folder, finished or not, into one file; return how many.

    The same results make the same bytes. One that is damaged, or was edited, is a ``UserError``.
    """
    folder = Path(folder)
    check_replaceable(Path(path), XZ, "a pack")
    header, lines = read_header(folder, STUDY), []
    for found in sorted(folder.glob(RESULTS)):
        value = read_json(found, "result")
        result_of(value, found)
        place = found.relative_to(folder).as_posix()
        if not PLACE.fullmatch(place):
            raise UserError(f"{found} lies in a folder that no study has: it cannot be packed")
        lines.append(json.dumps([place, value]))
    if not lines:
        raise UserError(f"{folder} has no results yet")
    body = "".join(line + "\n" for line in lines).encode()
    head = {"format": FORMAT, "version": VERSION, "header": header, "results": len(lines), "sha256": _sum(body)}
    packed = lzma.compress(json.dumps(head).encode() + b"\n" + body, preset=6)
    write_atomically(Path(path), lambda p: _write(p, packed))
    return len(lines)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def unpack(path: Path | str, folder: Path | str) -> int:
    """Make a pack a study's folder again, which the study goes on from; return how many results it has."""
    path, folder = Path(path), Path(folder)
    if (folder / STUDY.header).exists():
        raise UserError(f"{folder} already holds a study: choose another folder")
    header, lines = read_pack(path)
    with claimed(folder, STUDY, {"pack": header["digest"]}, {name.partition("/")[0] for name, _ in lines}):
        for name, value in lines:
            result_of(value, f"{path}: {name}")
            write_json(folder / name, value)
            os.utime(folder / name, (0, 0))  # when it was first written is not known
        write_json(folder / STUDY.header, header)
    clear(folder)
    return len(lines)


def read_pack(path: Path) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    """Return the study's header and every result's place and content, as they stood in its folder.

    A file that is no pack, damaged, or too large is a ``UserError``. The results themselves are not looked into.
    """
    try:
        if regular_size(path) > PACKED_LIMIT:
            raise UserError(f"{path} is no pack of results: it is too large")
        text = _unpacked(path)
        first, _, body = text.partition(b"\n")
        head = json.loads(first)
        if not isinstance(head, dict) or head.get("format") != FORMAT:
            raise UserError(f"{path} is no pack of results")
        if head.get("version") != VERSION:
            raise UserError(f"{path} has pack version {head.get('version')}; this trajtune reads {VERSION}")
        if head.get("sha256") != _sum(body):
            raise UserError(f"{path} is damaged: it does not match its own checksum")
        lines = list(_lines(path, body))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except (lzma.LZMAError, EOFError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged, or no pack of results ({first_line(error)})") from None
    return check_header(head.get("header"), path, STUDY, path), lines


def _unpacked(path: Path) -> bytes:
    found, decompressor = bytearray(), lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=PACKED_LIMIT)
    content = path.read_bytes()
    while not decompressor.eof:
        found += decompressor.decompress(content, max_length=1 << 24)
        content = b""
        if len(found) > LIMIT:
            raise UserError(f"{path} is no pack of results: what it holds is too large")
        if decompressor.needs_input and not decompressor.eof:
            raise EOFError("it is cut off")
    return bytes(found)


def _lines(path: Path, body: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in body.splitlines():
        name, value = json.loads(line)
        if not (isinstance(name, str) and PLACE.fullmatch(name) and isinstance(value, dict)):
            raise UserError(f"{path} is damaged: it has a result in a place where none belongs")
        yield name, value


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
