"""Episodes from files of any format."""

from collections.abc import Iterator
from pathlib import Path

from trajtune.data.episodes import Episode
from trajtune.data.formats import FORMATS
from trajtune.errors import UserError


def read_episodes(path: Path | str, format: str | None = None) -> Iterator[Episode]:
    """Yield the episodes of a file or folder, as ``from_episodes`` takes them; without a format, recognise it."""
    path = Path(path)
    chosen = FORMATS[recognise(path) if format is None else format]
    if not path.exists():
        raise UserError(f"{path} does not exist")
    return chosen.read(path)


def recognise(path: Path) -> str:
    """Return the name of the one format that a file or folder is of."""
    if not path.exists():
        raise UserError(f"{path} does not exist")
    found = [name for name in FORMATS if _recognises(name, path)]
    if not found:
        known = "; ".join(f"{name} ({entry.summary})" for name, entry in FORMATS.items())
        raise UserError(f"{path} is of no known data format: {known}")
    if len(found) > 1:
        raise UserError(f"{path} may be {' or '.join(found)}: name its format")
    return found[0]


def _recognises(name: str, path: Path) -> bool:
    try:
        return FORMATS[name].recognises(path)
    except Exception:  # another package's format must not stand in the way of the one it is
        return False
