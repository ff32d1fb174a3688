"""Briefs on disk: what is written comes back; what is damaged, or does not fit its texts, is one line."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.data.made import data, generator, same
from trajtune.data.fewshot import BRIEFS, PROMPTS, Brief, make_brief, read_briefs, write_briefs
from trajtune.errors import UserError

LONG, FOUR_TASKS = (5, 9, 3, 4, 6, 3, 8), (1, 1, 2, 4, 4, 4, 9)


def bank() -> dict[int, Brief]:
    picked = data(LONG, FOUR_TASKS)
    references = {2: {"random": -30.0, "expert": -3.0}, 6: {}}
    return {
        task: make_brief(picked.subset(np.flatnonzero(picked.task == FOUR_TASKS[i])), 3, references[task], seed=task)
        for i, task in ((4, 2), (0, 6))
    }


def test_briefs_come_back(tmp_path: Path) -> None:
    saved = bank()
    saved[2] = replace(saved[2], delayed=True)
    saved[8] = replace(saved[6], prompts=None)
    loaded = read_briefs(tmp_path, write_briefs(tmp_path, saved))
    assert [entry.delayed for entry in loaded.values()] == [True, False, False]
    assert list(loaded) == [2, 6, 8]
    for task, entry in loaded.items():
        assert same(entry.prompts, saved[task].prompts)
        assert (entry.target_return, entry.references) == (saved[task].target_return, saved[task].references)
        assert entry.digest() == saved[task].digest()
    assert loaded[2].prompts is not None and loaded[2].prompts.timesteps.dtype == torch.int64


@pytest.mark.parametrize("saved", [{}, {3: Brief(None, 1.5, {"random": 0.0})}])
def test_briefs_without_any_prompts_come_back(tmp_path: Path, saved: dict[int, Brief]) -> None:
    assert read_briefs(tmp_path, write_briefs(tmp_path, saved)) == saved


def test_damaged_briefs_are_a_user_error(tmp_path: Path) -> None:
    """The checksum is the header's; what is left here is that nothing but one line comes of whatever damage."""
    texts = write_briefs(tmp_path, bank())
    raw, rng = (tmp_path / BRIEFS).read_bytes(), generator()
    header = 8 + int.from_bytes(raw[:8], "little")
    damaged = [raw[:end] for end in range(0, len(raw) - 1, len(raw) // 40)]
    for _ in range(200):
        flipped = bytearray(raw)
        flipped[rng.integers(header)] ^= int(1 << rng.integers(8))
        damaged.append(bytes(flipped))
    refused = []
    for content in damaged:
        (tmp_path / BRIEFS).write_bytes(content)
        try:
            loaded = read_briefs(tmp_path, texts)
        except UserError as error:
            refused.append(str(error))
        else:
            assert all(
                e.prompts is not None and e.prompts.observations.shape == (PROMPTS, 3, 3) for e in loaded.values()
            )
    assert len(refused) > 150 and all(BRIEFS in line and "\n" not in line for line in refused)


def test_missing_briefs_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=BRIEFS):
        read_briefs(tmp_path, {})


GOOD = {"prompts": PROMPTS, "target_return": 1.0, "references": {}, "delayed": False}


@pytest.mark.parametrize(
    "texts",
    [
        {"3": GOOD},
        {"x": GOOD},
        *({"2": {name: value for name, value in GOOD.items() if name != left}} for left in GOOD),
        {"2": {**GOOD, "target_return": "high"}},
        {"2": {**GOOD, "target_return": float("nan")}},
        {"2": {**GOOD, "target_return": 10**400}},
        {"2": {**GOOD, "references": {"random": float("inf")}}},
        {"2": {**GOOD, "references": []}},
        {"2": {**GOOD, "prompts": 49}},
        {"2": {**GOOD, "prompts": -1}},
        {"2": {**GOOD, "prompts": "50"}},
        {"2": {**GOOD, "prompts": False}},
        {"2": []},
        [],
    ],
)
def test_texts_that_do_not_match_their_arrays(tmp_path: Path, texts: Any) -> None:
    write_briefs(tmp_path, bank())
    with pytest.raises(UserError, match=r"briefs\.safetensors does not match") as caught:
        read_briefs(tmp_path, texts)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("observations", lambda a: a[:-1]),
        ("observations", lambda a: a[..., 0]),
        ("observations", lambda a: a.astype(np.float64)),
        ("actions", lambda a: a * np.nan),
        ("actions", lambda a: a[..., :0]),
        ("returns_to_go", lambda a: a[0]),
        ("timesteps", lambda a: a.astype(np.float32)),
        ("timesteps", lambda a: a[:, :1]),
    ],
)
def test_arrays_that_are_not_those_of_prompts(tmp_path: Path, name: str, change: Any) -> None:
    from safetensors.numpy import load_file, save_file

    texts = write_briefs(tmp_path, bank())
    arrays = load_file(tmp_path / BRIEFS)
    arrays[f"2.{name}"] = np.ascontiguousarray(change(arrays[f"2.{name}"]))
    save_file(arrays, tmp_path / BRIEFS)
    with pytest.raises(UserError, match=r"briefs\.safetensors is damaged: its 2\."):
        read_briefs(tmp_path, texts)
