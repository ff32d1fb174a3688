"""Data of others: the archive of arrays, how a format is recognised, and formats of other packages."""

import os
import pickle
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.made import episode
from tests.data.stores import Payload
from trajtune import registry
from trajtune.data.episodes import from_episodes
from trajtune.data.formats import FORMATS
from trajtune.data.formats.base import Format
from trajtune.data.formats.reading import read_episodes
from trajtune.errors import UserError
from trajtune.registry import Registry

LENGTHS = (3, 1, 12, 2, *(4 for _ in range(8)))  # more than ten, so that 10 comes after 2


def episodes(final: bool = False) -> list[dict[str, Any]]:
    return [episode(i, 0, n, i % 2 == 0, final) for i, n in enumerate(LENGTHS)]


def flat(final: bool = False) -> dict[str, Any]:
    made = episodes(final)
    rows = {name: np.concatenate([e[name] for e in made]) for name in ("observations", "actions", "rewards")}
    return {**rows, "lengths": np.array(LENGTHS), "terminated": np.array([e["terminated"] for e in made])}


def saved(tmp_path: Path, **arrays: Any) -> Path:
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    return path


def refusal(path: Path, format: str | None = "arrays") -> str:
    with pytest.raises(UserError) as caught:
        list(read_episodes(path, format))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize("layout", ["flat", "by episode", "written"])
def test_the_same_episodes_come_from_every_layout(tmp_path: Path, layout: str, final: bool) -> None:
    path = tmp_path / "mine.npz"
    if layout == "flat":
        np.savez_compressed(path, **flat(final))
    elif layout == "written":
        write = FORMATS["arrays"].write
        assert write is not None
        write(path, episodes(final))
    else:
        np.savez(
            path, **{f"run/{i}/{k}": v for i, e in reversed(list(enumerate(episodes(final)))) for k, v in e.items()}
        )
    for format in (None, "arrays"):
        found = from_episodes(read_episodes(str(path), format))
        assert found.digest() == from_episodes(episodes(final)).digest()
    assert os.listdir(tmp_path) == ["mine.npz"]


@pytest.mark.parametrize("words", [("terminations", "truncations"), ("terminated", "truncated")])
@pytest.mark.parametrize("stopped", [False, True])
def test_flags_say_where_episodes_end(tmp_path: Path, words: tuple[str, str], stopped: bool) -> None:
    """The last episode ends where the recording does."""
    arrays = flat()
    ends = np.repeat(arrays["terminated"], LENGTHS)
    last = np.zeros(sum(LENGTHS), bool)
    last[np.cumsum(LENGTHS) - 1] = True
    del arrays["lengths"]
    arrays |= {"terminated": None, words[0]: last & ends, words[1]: last & ~ends}
    if stopped:
        arrays[words[1]][-1] = False
    path = saved(tmp_path, **{name: array for name, array in arrays.items() if array is not None})
    assert from_episodes(read_episodes(path)).digest() == from_episodes(episodes()).digest()


def test_unknown_names_reach_the_one_who_knows_them(tmp_path: Path) -> None:
    path = saved(tmp_path, **flat(), dones=np.zeros(len(LENGTHS)))
    with pytest.raises(UserError, match="unknown name in trajectory 0 'dones'"):
        from_episodes(read_episodes(path))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rewards": None}, "has no rewards; it has observations, actions, lengths, terminated"),
        ({"lengths": None}, "does not say where episodes end"),
        ({"lengths": np.array([50])}, "terminated has shape (12,), which fits neither 50 steps nor 1 episodes"),
        ({"lengths": np.array([1, 2])}, "lengths must be whole numbers from 1 on that add up to its 50 steps"),
        ({"lengths": np.array([50, 0])}, "lengths must be"),
        ({"lengths": np.array([51, -1])}, "lengths must be"),
        ({"lengths": np.array([50.0])}, "lengths must be"),
        ({"lengths": np.array(50)}, "lengths must be"),
        ({"actions": np.zeros((49, 2))}, "actions has shape (49, 2)"),
        ({"terminated": np.array(True)}, "terminated has shape ()"),
        ({"a/rewards": np.zeros(3)}, "observations belongs to no episode"),
        ({"rewards": np.array([Payload(Path("x"))], object)}, "it holds Python objects, which are not read"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    arrays = {name: array for name, array in {**flat(), **change}.items() if array is not None}
    message = refusal(saved(tmp_path, **arrays))
    assert words in message and str(tmp_path / "mine.npz") in message


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path, proof = tmp_path / "mine.npz", tmp_path / "proof"
    path.write_bytes(pickle.dumps(Payload(proof)))
    assert "is damaged or not an .npz file" in refusal(path)
    np.savez(path, rewards=np.array([Payload(proof)], object))
    refusal(path)
    assert not proof.exists()


@pytest.mark.skipif(os.name != "posix", reason="needs a pipe")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mine.npz")
    assert "not a regular file" in refusal(tmp_path / "mine.npz")
    assert "is of no known data format" in refusal(tmp_path / "mine.npz", None)


def test_damage_is_one_line(tmp_path: Path) -> None:
    path = saved(tmp_path, **flat())
    raw, rng = path.read_bytes(), np.random.default_rng(0)
    refused: list[str] = []
    for i in range(150):
        damaged = bytearray(raw if i % 3 else raw[: rng.integers(len(raw))])
        damaged[rng.integers(len(damaged))] ^= int(1 << rng.integers(8))
        path.write_bytes(damaged)
        try:
            list(read_episodes(path, "arrays"))
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 100 and all("\n" not in line and str(path) in line for line in refused)


def test_writing_refuses_what_it_could_not_read(tmp_path: Path) -> None:
    write = FORMATS["arrays"].write
    assert write is not None
    with pytest.raises(UserError, match="episode_0/infos is no array of numbers"):
        write(tmp_path / "mine.npz", [{"infos": {"a": 1}}])
    assert list(tmp_path.iterdir()) == []


# Recognising


def test_a_file_of_no_format_lists_the_formats(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("notes.txt", "mine")
    for path in (tmp_path, tmp_path / "notes.txt", tmp_path / "other.npz"):
        assert "is of no known data format: arrays (NumPy arrays in an .npz file" in refusal(path, None)
    assert "does not exist" in refusal(tmp_path / "none.npz", None) and "does not exist" in refusal(tmp_path / "none")
    assert "unknown data format 'array': did you mean arrays?" in refusal(tmp_path, "array")


def broken(path: Path) -> bool:
    raise RuntimeError("I cannot look")


LINES = Format(
    "one number a line", lambda path: path.suffix == ".txt", lambda path: iter([{"lines": path.read_text()}])
)
SAME = LINES._replace(summary="the same")
BROKEN = LINES._replace(recognises=broken)


def test_formats_of_other_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose ``recognises`` fails stands in nobody's way; two that say yes are a question."""
    names = {"lines": "LINES", "broken": "BROKEN"}

    def use(names: dict[str, str]) -> None:
        points = [EntryPoint(n, f"{__name__}:{v}", "trajtune.formats") for n, v in names.items()]
        monkeypatch.setattr(registry, "entry_points", lambda group: points)
        fresh = Registry("data format", "trajtune.formats", Format, {"arrays": FORMATS["arrays"]})
        monkeypatch.setattr("trajtune.data.formats.reading.FORMATS", fresh)

    (tmp_path / "notes.txt").write_text("mine")
    use(names)
    assert list(read_episodes(tmp_path / "notes.txt")) == [{"lines": "mine"}]
    use({**names, "same": "SAME"})
    assert "may be lines or same: name its format" in refusal(tmp_path / "notes.txt", None)
    assert list(read_episodes(tmp_path / "notes.txt", "same")) == [{"lines": "mine"}]
