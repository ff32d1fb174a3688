"""The one exception a user can cause: a single line that says what is wrong and what would be right."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something the user can put right. The command line prints its message as one line and exits with 2."""

    where = ""
    """Which part of a larger value it is about, such as ``study.settings[0].trajectories``, where that is known."""

    def at(self, where: str) -> "UserError":
        """Say which part it is about, unless a part of that part is known; return itself."""
        if not self.where.startswith(where):
            self.where = where
        return self


@contextmanager
def part(where: str) -> Iterator[None]:
    """Let the ``UserError`` of a block say which part of a larger value it is about."""
    try:
        yield
    except UserError as error:
        error.at(where)
        raise


class DivergedError(Exception):
    """A loss or gradient is no longer finite: one line that names the run, the step and the term. Exit code 3."""


def unknown(kind: str, name: object, choices: object) -> UserError:
    """Return the error for a name that is not among ``choices``: the one that was probably meant, and all of them."""
    known = [str(c) for c in choices]  # type: ignore[attr-defined]
    near = difflib.get_close_matches(str(name), known, 1)
    meant = f"did you mean {near[0]}? " if near else ""
    return UserError(f"unknown {kind} {str(name)[:80]!r}: {meant}choose one of {', '.join(known)}")


def first_line(error: Exception) -> str:
    """Return the beginning of an error's message, to be quoted in a message of one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
