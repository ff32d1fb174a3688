"""Dataclass configs: overriding fields by name, with errors that say what there is."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from trajtune.errors import UserError, unknown

T = TypeVar("T")


def override(config: T, options: Mapping[str, Any], owner: str) -> T:
    """Return a dataclass with some fields replaced; values are converted to the type of the default."""
    current = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}  # type: ignore[arg-type]
    changed: dict[str, Any] = {}
    for name, value in options.items():
        if name not in current:
            raise unknown(f"option of {owner}", name, current) if current else UserError(f"{owner} has no options")
        changed[name] = _converted(name, value, current[name], owner)
    return dataclasses.replace(config, **changed)  # type: ignore[type-var]


def _converted(name: str, value: Any, default: Any, owner: str) -> Any:
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(default):
        raise UserError(f"{owner}: {name} must be like {default!r}, got {value!r}")
    return value


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Turn ``alpha=0.1`` into ``{"alpha": 0.1}``; values are JSON, and a bare word is a string."""
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UserError(f"option {pair!r} is not NAME=VALUE")
        if name in options:
            raise UserError(f"option {name} is given twice")
        try:
            options[name] = json.loads(text)
        except (ValueError, RecursionError):  # not JSON, an integer of thousands of digits, nested too deep
            options[name] = text
    return options
