"""Names and what they stand for: a literal table of ours, and what other packages add through entry points.

Nothing is imported before it is asked for. A plug-in that is broken is one line and costs the others nothing.
"""

import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from trajtune.errors import UserError, first_line, unknown

E = TypeVar("E")


def resolve(reference: str) -> Any:
    """Return what ``package.module:name`` stands for; a ``UserError`` if there is no such thing."""
    module, _, name = reference.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{reference} cannot be loaded: {first_line(error)}") from error


class Registry(Mapping[str, E], Generic[E]):
    """A mapping of names to entries of one kind; an unknown name is a ``UserError`` that lists the choices.

    ``group`` is the entry-point group by which other packages add entries. What they point to must be an instance of
    ``entry``. Our own names come first and cannot be taken.
    """

    def __init__(self, kind: str, group: str, entry: type[E], own: Mapping[str, E]) -> None:
        self._kind, self._group, self._entry, self._own = kind, group, entry, dict(own)
        self._found: dict[str, E] | None = None
        self.broken: dict[str, str] = {}
        """Plug-ins that could not be loaded, and why."""

    def __getitem__(self, name: str) -> E:
        if name in self._own:
            return self._own[name]
        entries = self._all()
        if name in entries:
            return entries[name]
        if name in self.broken:
            raise UserError(f"{self._kind} {name} of another package does not load: {self.broken[name]}")
        raise unknown(self._kind, name, entries)

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._all()

    def get(self, name: str, default: Any = None) -> Any:  # Mapping's waits for a KeyError
        try:
            return self[name]
        except UserError:
            return default

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, E]:
        if self._found is None:
            self._found = dict(self._own)
            for point in sorted(entry_points(group=self._group), key=lambda p: p.name):
                self._add(point)
        return self._found

    def _add(self, point: Any) -> None:
        assert self._found is not None
        try:
            if point.name in self._found:
                raise UserError("the name is taken")
            entry = point.load()
            if not isinstance(entry, self._entry):
                raise UserError(f"{point.value} is not of type {self._entry.__name__}")
            self._found[point.name] = entry
        except UserError as error:
            self._leave_out(point.name, first_line(error))
        except SystemExit:
            self._leave_out(point.name, "its import ends the program")
        except Exception as error:  # whatever another package's import may raise
            self._leave_out(point.name, f"{type(error).__name__}: {first_line(error)}")

    def _leave_out(self, name: str, reason: str) -> None:
        self.broken[name] = reason
        print(f"trajtune: {self._kind} {name} is left out: {reason}", file=sys.stderr)
