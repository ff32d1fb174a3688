"""Options by name: converted to the default's type, or an error that says what there is."""

from dataclasses import dataclass
from typing import Any

import pytest

from trajtune.configs import override, parse_options
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


def test_override_replaces_what_is_named() -> None:
    config = Config()
    changed = override(config, {"alpha": 0.1, "clip": True}, "thing")
    assert changed == Config(alpha=0.1, clip=True) and config == Config()
    assert override(config, {}, "thing") == config


def test_override_takes_a_whole_number_for_a_float() -> None:
    alpha = override(Config(), {"alpha": 2}, "thing").alpha
    assert alpha == 2.0 and type(alpha) is float


@pytest.mark.parametrize(
    "options",
    [
        {"alpha": "high"},
        {"alpha": True},
        {"alpha": None},
        {"rounds": 2.0},
        {"rounds": True},
        {"rounds": "3"},
        {"name": 3},
        {"clip": 1},
        {"clip": "true"},
        {"clip": [True]},
    ],
)
def test_override_refuses_another_type(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(UserError, match=f"thing: {name} must be like {getattr(Config(), name)!r}, got"):
        override(Config(), options, "thing")


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
