"""The one exception a user can cause: a single line that says what is wrong and what would be right."""


class UserError(Exception):
    """Something the user can put right. The command line prints its message as one line and exits with 2."""


def unknown(kind: str, name: object, choices: object) -> UserError:
    """Return the error for a name that is not in a registry, listing what is."""
    listed = ", ".join(str(c) for c in choices)  # type: ignore[attr-defined]
    return UserError(f"unknown {kind} {str(name)!r}: choose one of {listed}")


class DivergedError(Exception):
    """A loss or gradient is no longer finite: one line that names the run, the step and the term. Exit code 3."""
