"""Reading and writing small files safely: atomic writes, checked reads, nothing ever unpickled."""

import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trajtune.errors import UserError, first_line

JSON_LIMIT = 1 << 28
"""Bytes. A JSON file larger than this is none of ours."""


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then put it in place: old or new, never half."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:  # a file where the folder should be, or no right to write there
        raise disk_error(path, error) from error
    os.close(descriptor)
    temporary = Path(name)
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise disk_error(path, error) from error
    except Exception as error:  # safetensors wraps the operating system's errors in its own type
        if "No space left" in str(error) or "os error 28" in str(error):
            raise UserError(f"cannot write {path}: no space left on the disk") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the system lets a folder be opened."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files of ``path`` that a killed ``write_atomically`` left behind."""
    for leftover in path.parent.glob(f".{path.name}.????????"):
        leftover.unlink(missing_ok=True)


def differing(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return the keys under which two mappings differ, sorted; in a mapping of mappings, ``recipe.algorithm``."""
    odd: list[str] = []
    for key in found.keys() | wanted.keys():
        left, right = found.get(key), wanted.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            odd += [f"{key}.{inner}" for inner in differing(left, right)]
        elif left != right:
            odd.append(key)
    return sorted(odd)


def disk_error(path: Path, error: OSError) -> UserError:
    """Return the one-line error for a failed write."""
    reason = "no space left on the disk" if error.errno == errno.ENOSPC else (error.strerror or str(error))
    return UserError(f"cannot write {path}: {reason}")


def write_json(path: Path, value: Any) -> None:
    """Write JSON, sorted by nothing: the order of the keys is the author's."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text: old or new, never half."""
    write_atomically(path, lambda p: _write_text(p, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")  # whatever the machine's own is


def check_replaceable(path: Path, start: bytes, what: str) -> None:
    """Raise a ``UserError`` if a file is there that does not begin as ours do: nobody's work is written over."""
    try:
        regular_size(path)
        with path.open("rb") as file:
            found = file.read(len(start))
    except FileNotFoundError:
        return
    except OSError as error:
        raise disk_error(path, error) from None
    if found and found != start:
        raise UserError(f"{path} already holds something else, not {what}: choose another file")


def append_line(path: Path, line: str) -> None:
    """Add a line to a file that several may add to; it is on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def regular_size(path: Path) -> int:
    """Return the size of a file, in bytes. A pipe blocks whoever opens it, a device may never end: an ``OSError``."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError("it is not a regular file")
    return found.st_size


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON object; ``what`` names it in errors ("agent", "delta", "dataset")."""
    try:
        if (size := regular_size(path)) > JSON_LIMIT:
            raise ValueError(f"it has {size} bytes")
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path.parent} is not {article(what)}: it has no {path.name}") from None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, not JSON, a number too long
        raise UserError(f"{path} is not readable as JSON ({first_line(error)}): is it a trajtune {what}?") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} does not describe {article(what)}")
    return value


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]], metadata: dict[str, str] | None = None) -> None:
    """Write NumPy arrays as safetensors."""
    from safetensors.numpy import save_file

    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    write_atomically(path, lambda p: save_file(contiguous, p, metadata=metadata))


def read_arrays(path: Path, what: str) -> dict[str, npt.NDArray[Any]]:
    """Read safetensors as NumPy arrays; a damaged or foreign file is a ``UserError`` that names it."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        regular_size(path)
        arrays = load_file(path)
        for name, array in arrays.items():
            # Other libraries teach NumPy types of numbers of their own: with JAX loaded, it knows bfloat16.
            if array.dtype.isbuiltin != 1 or array.dtype.kind not in "biuf":
                raise TypeError(f"its {name[:80]} holds {array.dtype}")
        return arrays
    except FileNotFoundError:
        raise UserError(f"{path.parent} is not a complete {what}: {path.name} is missing") from None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        # The last two: types of numbers that safetensors knows and NumPy does not, such as bfloat16.
        raise UserError(f"{path} is damaged or not {article(what)} file ({first_line(error)})") from None


def sha256(path: Path) -> str:
    """Return the checksum of a file, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def article(what: str) -> str:
    """Put the article before the name of a thing."""
    return f"an {what}" if what[0] in "aeiou" else f"a {what}"
