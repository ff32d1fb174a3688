"""Dataclass configs: made from plain values or overridden by name, with errors that say where and what there is."""

import dataclasses
import functools
import json
import math
import types
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from trajtune.errors import UserError, unknown

T = TypeVar("T")

MAY_BE_INFINITE = {"finite": False}
"""``field(metadata=MAY_BE_INFINITE)``: this number, or these, may be infinite or not a number. No other may."""


def override(config: T, options: Mapping[str, Any], owner: str) -> T:
    """Return a dataclass with some fields replaced; values must be of the fields' types, as in ``structured``."""
    fields = {f.name: f for f in dataclasses.fields(config)}  # type: ignore[arg-type]
    types_of = get_type_hints(type(config))
    changed: dict[str, Any] = {}
    for name, value in options.items():
        if name not in fields:
            raise unknown(f"option of {owner}", name, fields) if fields else UserError(f"{owner} has no options")
        changed[name] = _field(fields[name], types_of[name], value, f"{owner}: {name}")
    return dataclasses.replace(config, **changed)  # type: ignore[type-var]


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


def structured(kind: Any, value: Any, where: str, finite: bool = True) -> Any:
    """Turn what YAML or JSON gives into a value of the annotated type ``kind``, strictly.

    Dataclasses, tuples, lists, mappings, literals, paths, and alternatives of these. Whole numbers may stand for
    floats, one value for a tuple of one, NumPy's numbers for Python's; truth is no number, and unless ``finite`` is
    False neither is NaN or infinity, at any depth. ``where`` names the value in errors:
    ``study.settings[0].trajectories``, which they also have as ``UserError.where``.
    """
    try:
        return _structured(kind, value, where, finite)
    except UserError as error:
        error.at(where)
        raise


def _structured(kind: Any, value: Any, where: str, finite: bool) -> Any:
    if kind is Any:
        return _checked(value, where) if finite else value
    origin, inner, made_of_fields = _shape(kind)
    if made_of_fields:
        return _dataclass(kind, value, where)
    if origin is tuple:
        values = list(value) if isinstance(value, list | tuple) else [value]
        return tuple(_items(_tuple_types(inner, values, where), values, where, finite))
    if origin is list or origin is Sequence:
        if not isinstance(value, list | tuple):
            raise UserError(f"{where} must be a list, got {value!r}"[:200])
        return list(_items([inner[0]] * len(value), value, where, finite))
    if origin in (Mapping, dict):
        named = _named(value, where)
        return {name: structured(inner[1], each, f"{where}.{name}", finite) for name, each in named.items()}
    if origin is Literal:
        if not any(type(value) is type(choice) and value == choice for choice in inner):
            raise unknown(where, value, inner)
        return value
    if origin in (Union, types.UnionType):
        return _alternative(inner, value, where, finite)
    return _plain(kind, value, where, finite)


def _plain(kind: type[Any], value: Any, where: str, finite: bool) -> Any:
    """One value that is not made of others."""
    if kind is float and type(value) is not bool and isinstance(value, Real):
        try:
            found = float(value)
        except OverflowError:
            raise UserError(f"{where} is too large a number") from None
        return _checked(found, where) if finite else found
    if kind is int and type(value) is not bool and isinstance(value, Integral):
        return int(value)
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    if type(value) is not kind:
        raise UserError(f"{where} must be of type {_spelt(kind)}, got {value!r}"[:200])
    return value


def _alternative(kinds: Sequence[Any], value: Any, where: str, finite: bool) -> Any:
    """The first of several types that takes the value."""
    others = [kind for kind in kinds if kind is not type(None)]
    if value is None and len(others) < len(kinds):
        return None
    if len(others) == 1:
        return structured(others[0], value, where, finite)  # its own error says more
    for kind in others:
        try:
            return structured(kind, value, where, finite)
        except UserError:
            continue
    raise UserError(f"{where} must be of type {' or '.join(map(_spelt, kinds))}, got {value!r}"[:200])


def _spelt(kind: Any) -> str:
    return "None" if kind is type(None) else kind.__name__ if isinstance(kind, type) else str(kind)


def _tuple_types(inner: Sequence[Any], values: Sequence[Any], where: str) -> Sequence[Any]:
    if inner[-1:] == (Ellipsis,):
        return [inner[0]] * len(values)
    if len(inner) != len(values):
        raise UserError(f"{where} must be {len(inner)} values, got {len(values)}")
    return inner


def _items(kinds: Sequence[Any], values: Sequence[Any], where: str, finite: bool) -> list[Any]:
    if all(kind is float for kind in kinds) and all(type(value) is float and math.isfinite(value) for value in values):
        return list(values)  # a result has thousands of them
    pairs = zip(kinds, values, strict=True)
    return [structured(kind, each, f"{where}[{i}]", finite) for i, (kind, each) in enumerate(pairs)]


def _checked(value: Any, where: str) -> Any:
    """Return a plain value as it is, if every number in it is finite."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where} must be a finite number, got {value}")
    if isinstance(value, Mapping):
        for name, each in value.items():
            _checked(each, f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for i, each in enumerate(value):
            _checked(each, f"{where}[{i}]")
    return value


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    if isinstance(value, kind):
        return value
    known, types_of = _fields_of(kind)
    found = {}
    for name, each in _named(value, where).items():
        if name not in known:
            raise unknown(f"name in {where}", name, known).at(f"{where}.{name}")
        found[name] = _field(known[name], types_of[name], each, f"{where}.{name}")
    for name, f in known.items():
        if name not in found and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise UserError(f"{where} needs {name}")
    return kind(**found)


@functools.cache
def _shape(kind: Any) -> tuple[Any, tuple[Any, ...], bool]:
    """What a type is of, what it holds, and whether it is a dataclass."""
    return get_origin(kind), get_args(kind), dataclasses.is_dataclass(kind)


@functools.cache
def _fields_of(kind: Any) -> tuple[dict[str, "dataclasses.Field[Any]"], dict[str, Any]]:
    """Fields and their types by name: a study has them read for thousands of results."""
    return {f.name: f for f in dataclasses.fields(kind)}, get_type_hints(kind)


def _field(field: "dataclasses.Field[Any]", kind: Any, value: Any, where: str) -> Any:
    return structured(kind, value, where, bool(field.metadata.get("finite", True)))


def _named(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise UserError(f"{where} must be a mapping of names to values, got {value!r}"[:200])
    return value


def check_shares(config: Any, *names: str) -> None:
    """Raise a ``UserError`` unless these fields lie in [0, 1]."""
    for name in names:
        if not 0.0 <= getattr(config, name) <= 1.0:
            raise UserError(f"{name} must lie in [0, 1], got {getattr(config, name)}")
