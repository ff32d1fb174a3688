"""Names and what they stand for: ours, those of other packages, and those that are broken."""

from importlib.metadata import EntryPoint
from typing import NamedTuple

import pytest

from trajtune import registry
from trajtune.errors import UserError
from trajtune.registry import Registry, resolve


class Thing(NamedTuple):
    """An entry."""

    word: str


OTHER = Thing("of another package")
WRONG = "no thing"
OURS = {"first": Thing("one"), "second": Thing("two")}


def points(**values: str) -> list[EntryPoint]:
    return [EntryPoint(name, value, "trajtune.things") for name, value in values.items()]


def things(monkeypatch: pytest.MonkeyPatch, *found: EntryPoint) -> Registry[Thing]:
    def of(group: str) -> list[EntryPoint]:
        assert group == "trajtune.things"
        return list(found)

    monkeypatch.setattr(registry, "entry_points", of)
    return Registry("thing", "trajtune.things", Thing, OURS)


def test_it_is_the_mapping_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    found = things(monkeypatch)
    assert dict(found) == OURS and list(found) == ["first", "second"] and len(found) == 2
    assert "first" in found and "third" not in found and 3 not in found
    assert found.get("first") == Thing("one") and found.get("third") is None and found.get("third", 3) == 3


def test_an_unknown_name_lists_the_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="unknown thing 'frist': did you mean first\\? choose one of first, second"):
        things(monkeypatch)["frist"]
    with pytest.raises(UserError, match="unknown thing 'xyz': choose one of first, second, other"):
        things(monkeypatch, *points(other=f"{__name__}:OTHER"))["xyz"]


def test_ours_need_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(group: str) -> list[EntryPoint]:
        raise AssertionError("nobody asked for another's")

    found = things(monkeypatch)
    monkeypatch.setattr(registry, "entry_points", fail)
    assert found["first"] == Thing("one") and "second" in found


def test_other_packages_add_theirs_behind_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    found = things(monkeypatch, *points(zeta=f"{__name__}:OTHER", alpha=f"{__name__}:OTHER"))
    assert list(found) == ["first", "second", "alpha", "zeta"]
    assert found["zeta"] is OTHER and "alpha" in found and found.broken == {}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("trajtune_nowhere:X", "ModuleNotFoundError: No module named 'trajtune_nowhere'"),
        (f"{__name__}:NONE", "AttributeError"),
        (f"{__name__}:WRONG", "WRONG is not of type Thing"),
        ("trajtune_raises:X", "RuntimeError: first line"),
        ("trajtune_exits:X", "its import ends the program"),
    ],
)
def test_a_broken_plug_in_is_one_line_and_costs_the_others_nothing(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
    value: str,
    reason: str,
) -> None:
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "trajtune_raises.py").write_text("raise RuntimeError('first line\\nsecond line')")
    (folder / "trajtune_exits.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(folder)
    found = things(monkeypatch, *points(bad=value, good=f"{__name__}:OTHER"))
    assert list(found) == ["first", "second", "good"] and found["good"] is OTHER
    assert reason in found.broken["bad"] and "bad" not in found
    with pytest.raises(UserError, match="thing bad of another package does not load") as caught:
        found["bad"]
    assert "\n" not in str(caught.value)
    list(found)
    told = capsys.readouterr().err.splitlines()  # once
    assert len(told) == 1 and told[0].startswith("trajtune: thing bad is left out: ") and reason in told[0]


def test_our_names_cannot_be_taken(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = things(monkeypatch, *points(first=f"{__name__}:OTHER"))
    assert dict(found) == OURS and found["first"] == Thing("one") and "the name is taken" in capsys.readouterr().err


def test_of_two_packages_with_one_name_the_first_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = things(monkeypatch, *points(other=f"{__name__}:OTHER"), *points(other=f"{__name__}:WRONG"))
    assert found["other"] is OTHER and found.broken == {"other": "the name is taken"}


def test_entry_points_that_are_installed_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As pip leaves them: a folder with the package's metadata on the path."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "trajtune_plugin.py").write_text("OTHER = 'b'")
    (folder / "plugin-1.0.dist-info").mkdir()
    (folder / "plugin-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    (folder / "plugin-1.0.dist-info" / "entry_points.txt").write_text(
        "[trajtune.words]\nmine = trajtune_plugin:OTHER\n"
    )
    monkeypatch.syspath_prepend(folder)
    assert dict(Registry("word", "trajtune.words", str, {"ours": "a"})) == {"ours": "a", "mine": "b"}


def test_resolve() -> None:
    assert resolve("trajtune.registry:Registry") is Registry
