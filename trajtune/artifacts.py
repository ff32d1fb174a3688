"""A folder that holds one thing: an agent, a delta, a dataset. How it is headed, claimed, finished and cleared.

The life of a folder, the same for everything trajtune makes:

1. ``finished`` finds out whether the same call has been completed here; then there is nothing to do.
2. ``claim`` marks an empty folder as that of a run, or recognises its own mark, so that it goes on from what is there.
3. The run writes files, and ``finish`` writes the header, which alone makes the folder an artifact.
4. ``clear`` removes the mark and what only an unfinished run needs.

A header signs itself and every file of the artifact: one that was edited, or a file that was exchanged, is found.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from trajtune.errors import UserError
from trajtune.files import article, differing, disk_error, read_json, regular_size, remove_leftovers, sha256, write_json

ELSEWHERE = "choose another folder"

MARK = "unfinished.json"
"""What an unfinished run has in its folder. Files without it are not a run's."""


class Kind(NamedTuple):
    """What a folder can hold: its name in errors, the version of its format, and the file that heads it."""

    name: str
    version: int
    header: str


AGENT = Kind("agent", 2, "agent.json")
DELTA = Kind("delta", 2, "delta.json")
DATASET = Kind("dataset", 2, "dataset.json")
STUDY = Kind("study", 2, "study.json")
EXPERT = Kind("expert", 2, "expert.json")
DEMO = Kind("demo", 2, "demo.json")
KINDS = (AGENT, DELTA, DATASET, STUDY, EXPERT, DEMO)
FORMER = {"config.json": AGENT}
"""Headers of version 1 that had another name."""

RESERVED = ("format", "version", "files", "digest")
"""What ``finish`` itself writes into a header."""


def signature(value: Any) -> str:
    """SHA-256 over a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def finish(folder: Path, kind: Kind, about: Mapping[str, Any], files: Collection[str] = ()) -> dict[str, Any]:
    """Write the header that makes ``folder`` an artifact: ``about`` (JSON), and size and checksum of its ``files``."""
    if taken := [name for name in RESERVED if name in about]:
        raise UserError(f"{folder / kind.header} has {', '.join(taken)} of its own: choose other names")
    sums = {name: {"bytes": regular_size(folder / name), "sha256": sha256(folder / name)} for name in files}
    header = {"format": f"trajtune-{kind.name}", "version": kind.version, **plain(about), "files": sums}
    header["digest"] = signature(header)
    write_json(folder / kind.header, header)
    return header


def read_header(folder: Path, kind: Kind, verify: bool = True) -> dict[str, Any]:
    """Read the header of an artifact and check its signature; with ``verify``, the files' checksums, too.

    Anything else than an undamaged artifact of this kind and version is a ``UserError`` that names the file.
    """
    path = folder / kind.header
    for former, of in FORMER.items():
        if of == kind and not _exists(path) and _exists(folder / former):
            path = folder / former  # it says which version it is
    if not _exists(path) and (why := _nothing_there(folder)):
        raise UserError(f"{folder} is not {article(kind.name)}: it has no {kind.header}, {why}")
    header = check_header(read_json(path, kind.name), path, kind, folder)
    for name, entry in header["files"].items():
        _check_file(folder / name, entry, kind, verify)
    return header


def check_header(header: Any, path: Path, kind: Kind, thing: Path) -> dict[str, Any]:
    """Return a header that stood in ``path`` if it is an undamaged one of this kind and version; else a ``UserError``.

    The files that it signs are not looked at. ``thing`` is what has another version if the header has.
    """
    if not isinstance(header, dict) or header.get("format") != f"trajtune-{kind.name}":
        raise UserError(f"{path} does not describe a trajtune {kind.name}")
    if (found := header.get("version")) != kind.version:
        remedy = "make it again with this version" if isinstance(found, int) and found < kind.version else "update"
        raise UserError(f"{thing} has {kind.name} version {found}; this trajtune reads {kind.version}: {remedy}")
    signed = {name: value for name, value in header.items() if name != "digest"}
    if header.get("digest") != signature(signed):
        raise UserError(f"{path} is damaged or was edited: it does not match its own digest")
    files = header.get("files")
    if not isinstance(files, dict) or not all(_is_entry(name, entry) for name, entry in files.items()):
        raise UserError(f"{path} is not complete: its 'files' is missing or damaged")
    return header


def plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value as it comes back from a file: a tuple is a list, a number as a key is text."""
    same: dict[str, Any] = json.loads(json.dumps(dict(value)))
    return same


def _is_entry(name: str, entry: Any) -> bool:
    """A file of the folder or below it, with its size and checksum."""
    inside = bool(name) and not Path(name).is_absolute() and ".." not in Path(name).parts and "\0" not in name
    told = isinstance(entry, dict) and type(entry.get("bytes")) is int and isinstance(entry.get("sha256"), str)
    return inside and told


def _exists(path: Path) -> bool:
    return os.path.exists(path)  # unlike Path.exists, no error where a folder may not be looked into


def _check_file(path: Path, entry: Mapping[str, Any], kind: Kind, verify: bool) -> None:
    try:
        size = regular_size(path)
        if size != entry["bytes"]:
            raise UserError(f"{path} is damaged: it has {size} bytes, its header says {entry['bytes']}")
        if verify and sha256(path) != entry["sha256"]:
            raise UserError(f"{path} is damaged: its checksum does not match the header")
    except FileNotFoundError:
        raise UserError(f"{path.parent} is not a complete {kind.name}: {path.name} is missing") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None


def kind_of(folder: Path) -> Kind:
    """Tell what a folder holds; a ``UserError`` if it is nothing of ours."""
    for name, kind in {**{kind.header: kind for kind in KINDS}, **FORMER}.items():
        if _exists(folder / name):
            return kind
    names = ", ".join(kind.header for kind in KINDS)
    told = f"{folder} holds nothing that trajtune made: it has none of {names}"
    raise UserError(", ".join(filter(None, [told, _nothing_there(folder)])))


def _nothing_there(folder: Path) -> str | None:
    """Why a folder without a header is no artifact, where that is plain."""
    if _exists(folder / MARK):
        return "it is unfinished, and the command that began it goes on with it"
    return None if _exists(folder) else "there is no such folder"


def finished(folder: Path, kind: Kind, run: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the header if this very run was completed here, None if nothing was; another run's is a ``UserError``.

    ``run`` is what decides the result, as it stands under ``run`` in the header.
    """
    if not _exists(folder / kind.header):
        return None
    header = read_header(folder, kind)
    if odd := differing({"run": header.get("run") or {}}, {"run": plain(run)}):
        odd = [name.removeprefix("run.") for name in odd]
        raise UserError(f"{folder} already holds {article(kind.name)} with another {', '.join(odd)}: {ELSEWHERE}")
    return header


def claim(folder: Path, kind: Kind, run: Mapping[str, Any], beside: Collection[str] = ()) -> None:
    """Mark an empty folder as that of ``run``, or check that it already is; anything else in it is an error.

    ``beside`` names what may be there without a mark.
    """
    path = folder / MARK
    try:
        if folder.is_dir():
            remove_leftovers(path)  # of a run killed before it had marked the folder
        marked, taken = path.exists(), folder.exists() and not folder.is_dir()
        taken = taken or (folder.exists() and any(each.name not in beside for each in folder.iterdir()))
    except OSError as error:
        raise disk_error(folder, error) from error
    if marked:
        _check_mark(folder, kind, run)
    elif taken:
        raise UserError(f"{folder} already holds something else: {ELSEWHERE}")
    else:
        write_json(path, {"kind": kind.name, "run": plain(run)})


def _check_mark(folder: Path, kind: Kind, run: Mapping[str, Any]) -> None:
    mark = read_json(folder / MARK, kind.name)
    if mark.get("kind") != kind.name:
        raise UserError(f"{folder} holds an unfinished {mark.get('kind')}, no {kind.name}: {ELSEWHERE}")
    if odd := differing({"run": mark.get("run") or {}}, {"run": plain(run)}):
        names = ", ".join(name.removeprefix("run.") for name in odd)
        raise UserError(f"{folder} holds an unfinished {kind.name} with another {names}: {ELSEWHERE}")


@contextmanager
def claimed(folder: Path | None, kind: Kind, run: Mapping[str, Any], work: Collection[str] = ()) -> Iterator[None]:
    """Hold a folder for ``run`` while the block lasts; without a folder, hold nothing.

    A run that fails before it has written any of ``work`` has nothing to go on from: its folder is left empty.
    """
    if folder is not None:
        claim(folder, kind, run)
    try:
        yield
    except Exception:
        if folder is not None and not any((folder / name).exists() for name in work):
            (folder / MARK).unlink(missing_ok=True)
        raise


def clear(folder: Path, work: Collection[str] = ()) -> None:
    """Remove what only an unfinished run needs. The mark goes last, because it says that the rest is ours."""
    if not _exists(folder / MARK):
        return
    remove_leftovers(folder / "*")
    for name in work:
        path = folder / name
        if path.is_dir() and not path.is_symlink():  # what a link points to is not ours
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    (folder / MARK).unlink(missing_ok=True)  # of processes that finish together, one is first
