"""Dataclass configs: made from plain values or overridden by name, with errors that say what there is."""

import dataclasses
import json
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

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
        return _float(value, f"{owner}: {name}")
    if type(value) is not type(default):
        raise UserError(f"{owner}: {name} must be like {default!r}, got {value!r}")
    return value


def _float(value: int, where: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise UserError(f"{where} is too large a number") from None


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


def structured(kind: Any, value: Any, where: str) -> Any:
    """Turn what YAML or JSON gives into a value of the annotated type ``kind``: dataclasses, tuples, mappings, paths.

    Strict, but that whole numbers may stand for floats and one value for a tuple of one. ``where`` names the value in
    errors: ``study.settings[0].trajectories``.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, where)
    if origin is tuple:
        values = value if isinstance(value, list) else [value]
        return tuple(structured(inner[0], each, f"{where}[{i}]") for i, each in enumerate(values))
    if origin is Mapping:
        return {name: structured(inner[1], each, f"{where}.{name}") for name, each in _named(value, where).items()}
    if origin is Literal:
        if value not in inner:
            raise unknown(f"{where}", value, inner)
        return value
    if origin in (Union, types.UnionType):  # of something and None
        return None if value is None else structured(next(k for k in inner if k is not type(None)), value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return _float(value, where)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if type(value) is not kind:
        raise UserError(f"{where} must be of type {kind.__name__}, got {value!r}"[:200])
    return value


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    known, types_of = {f.name: f for f in dataclasses.fields(kind)}, get_type_hints(kind)
    found = {}
    for name, each in _named(value, where).items():
        if name not in known:
            raise unknown(f"name in {where}", name, known)
        found[name] = structured(types_of[name], each, f"{where}.{name}")
    for name, f in known.items():
        if name not in found and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise UserError(f"{where} needs {name}")
    return kind(**found)


def _named(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise UserError(f"{where} must be a mapping of names to values, got {value!r}"[:200])
    return value


def check_shares(config: Any, *names: str) -> None:
    """Raise a ``UserError`` unless these fields lie in [0, 1]."""
    for name in names:
        if not 0.0 <= getattr(config, name) <= 1.0:
            raise UserError(f"{name} must lie in [0, 1], got {getattr(config, name)}")
