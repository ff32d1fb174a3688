"""Options by name: converted to the default's type, or an error that says what there is."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from trajtune.configs import MAY_BE_INFINITE, override, parse_options, structured
from trajtune.errors import UserError


@dataclass(frozen=True)
class Config:
    alpha: float = 0.5
    rounds: int = 3
    name: str = "plain"
    clip: bool = False


@dataclass(frozen=True)
class Bare:
    pass


@dataclass(frozen=True)
class Wide:
    mode: Literal["fast", "slow"] = "fast"
    limit: float | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    ceiling: float = field(default=math.inf, metadata=MAY_BE_INFINITE)


@dataclass(frozen=True)
class Nested:
    inner: Config
    each: tuple[Config, ...] = ()
    pair: tuple[int, str] = (0, "")
    items: list[float] = field(default_factory=list)
    path: Path = Path()
    either: int | list[int] = 0
    by_name: dict[str, Wide] = field(default_factory=dict)


def test_override_replaces_what_is_named() -> None:
    config = Config()
    changed = override(config, {"alpha": 0.1, "clip": True}, "thing")
    assert changed == Config(alpha=0.1, clip=True) and config == Config()
    assert override(config, {}, "thing") == config


def test_override_takes_a_whole_number_for_a_float() -> None:
    alpha = override(Config(), {"alpha": 2}, "thing").alpha
    assert alpha == 2.0 and type(alpha) is float


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"alpha": "high"}, "float"),
        ({"alpha": True}, "float"),
        ({"alpha": None}, "float"),
        ({"rounds": 2.0}, "int"),
        ({"rounds": True}, "int"),
        ({"rounds": "3"}, "int"),
        ({"name": 3}, "str"),
        ({"clip": 1}, "bool"),
        ({"clip": "true"}, "bool"),
        ({"clip": [True]}, "bool"),
    ],
)
def test_override_refuses_another_type(options: dict[str, Any], kind: str) -> None:
    (name,) = options
    with pytest.raises(UserError, match=f"^thing: {name} must be of type {kind}, got "):
        override(Config(), options, "thing")


def test_override_knows_what_is_annotated() -> None:
    assert override(Wide(), {"mode": "slow", "limit": 3, "more": {"r": 1}}, "w") == Wide("slow", 3.0, {"r": 1})
    assert override(Wide(limit=1.0), {"limit": None}, "w") == Wide()
    with pytest.raises(UserError, match="unknown w: mode 'slwo': did you mean slow"):
        override(Wide(), {"mode": "slwo"}, "w")


def test_override_refuses_what_there_is_not() -> None:
    with pytest.raises(UserError, match="unknown option of thing 'beta': choose one of alpha, rounds, name, clip"):
        override(Config(), {"beta": 1.0}, "thing")
    with pytest.raises(UserError, match="thing has no options"):
        override(Bare(), {"beta": 1.0}, "thing")
    assert override(Bare(), {}, "thing") == Bare()


def test_parse_options() -> None:
    pairs = ["alpha=0.1", "rounds=3", "clip=true", "name=plain", "path=a=b", 'quoted="3"', "empty=", "list=[1, 2]"]
    assert parse_options(pairs) == {
        "alpha": 0.1,
        "rounds": 3,
        "clip": True,
        "name": "plain",
        "path": "a=b",
        "quoted": "3",
        "empty": "",
        "list": [1, 2],
    }
    assert parse_options([]) == {}
    with pytest.raises(UserError, match="option a is given twice"):
        parse_options(["a=1", "a=2"])


@pytest.mark.parametrize("pair", ["alpha", "=3", "", "="])
def test_parse_options_refuses(pair: str) -> None:
    with pytest.raises(UserError, match="is not NAME=VALUE"):
        parse_options([pair])


@pytest.mark.parametrize("text", ["1" * 5000, "[" * 100_000, "{", "nul", "1e", "'x'"])
def test_parse_options_takes_what_is_no_json_as_a_word(text: str) -> None:
    assert parse_options([f"name={text}"]) == {"name": text}


# Structures


def test_structured_reads_what_asdict_writes() -> None:
    value = Nested(
        Config(0.1), (Config(), Config(2.0)), (3, "x"), [1.0, 2.0], Path("a/b"), [1, 2], {"w": Wide("slow", 0.5)}
    )
    assert structured(Nested, asdict(value), "value") == value
    assert structured(Nested, {"inner": {"alpha": 1}}, "value") == Nested(Config(1.0))
    assert structured(Nested, {"inner": {}, "each": {"rounds": 1}}, "value").each == (Config(rounds=1),)
    assert structured(Nested, value, "value") is value


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), np.int64(2)])
def test_numpy_s_numbers_stand_for_python_s(value: Any) -> None:
    found = override(Config(), {"alpha": value}, "thing").alpha
    assert found == float(value) and type(found) is float


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({}, "value needs inner"),
        ([], "value must be a mapping of names to values, got []"),
        ({1: 2}, "value must be a mapping of names to values"),
        ({"iner": {}}, "unknown name in value 'iner': did you mean inner?"),
        ({"inner": {"alpha": "x"}}, "value.inner.alpha must be of type float, got 'x'"),
        ({"inner": {"alpha": 10**400}}, "value.inner.alpha is too large a number"),
        ({"inner": {"alpha": math.nan}}, "value.inner.alpha must be a finite number, got nan"),
        ({"inner": {}, "each": [{}, {"rounds": True}]}, "value.each[1].rounds must be of type int, got True"),
        ({"inner": {}, "pair": [1]}, "value.pair must be 2 values, got 1"),
        ({"inner": {}, "pair": ["x", "y"]}, "value.pair[0] must be of type int, got 'x'"),
        ({"inner": {}, "items": 1.0}, "value.items must be a list, got 1.0"),
        ({"inner": {}, "items": [1.0, math.inf]}, "value.items[1] must be a finite number, got inf"),
        ({"inner": {}, "items": [1.0, True]}, "value.items[1] must be of type float, got True"),
        ({"inner": {}, "path": 3}, "value.path must be of type Path, got 3"),
        ({"inner": {}, "either": "x"}, "value.either must be of type int or list[int], got 'x'"),
        ({"inner": {}, "by_name": {"w": {"mode": "slwo"}}}, "unknown value.by_name.w.mode 'slwo': did you mean slow?"),
        ({"inner": {}, "by_name": {"w": {"mode": ["slow"]}}}, "unknown value.by_name.w.mode"),
        ({"inner": {}, "by_name": {"w": {"limit": -math.inf}}}, "value.by_name.w.limit must be a finite number"),
        ({"inner": {}, "by_name": {"w": {"more": {"a": [1, math.nan]}}}}, "value.by_name.w.more.a[1] must be a finite"),
    ],
)
def test_structured_says_where(value: Any, error: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(error)}"):
        structured(Nested, value, "value")


def test_a_number_may_be_infinite_where_its_field_says_so() -> None:
    assert structured(Wide, {"ceiling": -math.inf}, "w").ceiling == -math.inf
    assert math.isnan(override(Wide(), {"ceiling": math.nan}, "w").ceiling)


def test_truth_is_no_number_among_literals() -> None:
    with pytest.raises(UserError, match="unknown n 'True'"):
        structured(Literal[1, 2], True, "n")
    assert structured(Literal[1, 2], 2, "n") == 2


def test_errors_are_short() -> None:
    with pytest.raises(UserError) as error:
        structured(Config, {"alpha": "x" * 10_000}, "value")
    assert len(str(error.value)) <= 200
