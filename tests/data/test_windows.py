"""Windows against naive loops: which rows, which padding, how often, and the state behind the last step."""

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from tests.data.made import LENGTHS, TERMINATED, data, generator
from trajtune.data.episodes import from_episodes
from trajtune.data.sampling import draw_batch, draw_windows
from trajtune.data.trajectories import Trajectories
from trajtune.types import Window

ROWS = ("observations", "actions", "rewards", "returns_to_go")


def cut(data: Trajectories, i: int, last: int, length: int, max_timesteps: int | None) -> list[dict[str, object]]:
    """The positions of the window of trajectory i that ends at ``last``, one by one, as the docstring says them."""
    start, steps, found = int(data.start[i]), int(data.length[i]), []
    for t in range(max(0, last - length + 1), last + 1):
        if t < steps:
            step = {name: getattr(data, name)[start + t] for name in ROWS}
            ends = bool(data.terminated[i]) and t == steps - 1
            found.append({**step, "timesteps": t, "terminals": ends, "mask": True, "present": True, "index": start + t})
        else:
            end = start + steps - 1
            found.append(
                {
                    "observations": data.final_observations[i],
                    "actions": np.zeros(data.actions.shape[1]),
                    "rewards": 0.0,
                    "returns_to_go": data.returns_to_go[end] - data.rewards[end],
                    "timesteps": t if max_timesteps is None else min(t, max_timesteps - 1),
                    "terminals": False,
                    "mask": False,
                    "present": True,
                    "index": 0,
                }
            )
    return found


def assert_cut(window: Window, which: np.ndarray, data: Trajectories, length: int, limit: int | None = None) -> None:
    """Every window is what the loop cuts, and zero behind it."""
    for b, i in enumerate(which):
        present = int(window.present[b].sum())
        steps = int(window.mask[b].sum())
        assert 1 <= steps <= present <= steps + 1
        first = int(window.timesteps[b, 0])
        expected = cut(data, int(i), first + present - 1, length, limit)
        assert len(expected) == present
        for k in range(length):
            for field in fields(Window):
                found = getattr(window, field.name)[b, k].numpy()
                wanted = expected[k][field.name] if k < present else np.zeros_like(found)
                np.testing.assert_array_equal(found, wanted, err_msg=f"{field.name} at {k} of trajectory {i}")


@pytest.mark.parametrize("length", [1, 2, 5, 20])
@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4], [4, 2, 0], [3]])
@pytest.mark.parametrize("final", [False, True])
def test_windows_are_what_a_loop_cuts(length: int, rows: list[int], final: bool) -> None:
    picked = data(final=final).subset(rows)  # whose steps do not lie one behind the other
    window, which = draw_windows(picked, generator(), 200, length)
    assert len(window.mask) == len(which) == 200
    assert_cut(window, which, picked, length)


def test_a_window_by_hand() -> None:
    """Two steps and a time limit: three positions, the last of them the state that followed."""
    made = from_episodes(
        [
            {
                "observations": [[1.0], [2.0], [3.0]],
                "actions": [[0.5], [0.25]],
                "rewards": [10.0, 20.0],
                "truncated": True,
            }
        ]
    )
    seen = {}
    window, _ = draw_windows(made, generator(), 60, 3)
    for b in range(60):
        seen[int(window.present[b].sum())] = {
            name: getattr(window, name)[b].squeeze(-1).tolist()
            if name in ("observations", "actions")
            else getattr(window, name)[b].tolist()
            for name in (f.name for f in fields(Window))
        }
    no = [False] * 3
    assert seen[1] == {
        "returns_to_go": [30.0, 0.0, 0.0],
        "observations": [1.0, 0.0, 0.0],
        "actions": [0.5, 0.0, 0.0],
        "rewards": [10.0, 0.0, 0.0],
        "timesteps": [0, 0, 0],
        "terminals": no,
        "mask": [True, False, False],
        "present": [True, False, False],
        "index": [0, 0, 0],
    }
    full = {
        "returns_to_go": [30.0, 20.0, 0.0],
        "observations": [1.0, 2.0, 3.0],
        "actions": [0.5, 0.25, 0.0],
        "rewards": [10.0, 20.0, 0.0],
        "timesteps": [0, 1, 2],
        "terminals": no,
        "mask": [True, True, False],
        "present": [True, True, True],
        "index": [0, 1, 0],
    }
    assert seen[3] == full
    assert seen[2] == {
        **full,
        "observations": [1.0, 2.0, 0.0],
        "timesteps": [0, 1, 0],
        "present": [True, True, False],
    }
    assert set(seen) == {1, 2, 3}


@pytest.mark.parametrize("limit", [None, 13, 12, 8, 7])
def test_the_state_behind_the_last_step_has_a_timestep_that_the_agent_knows(limit: int | None) -> None:
    """Of trajectory 1, seven steps and a time limit; with 7 known timesteps the last is 6, with 8 it is 7."""
    picked = data(final=True).subset([1])
    window, which = draw_windows(picked, generator(), 100, 4, limit)
    behind = window.present & ~window.mask
    assert behind.any() and set(window.timesteps[behind].tolist()) == {6 if limit == 7 else 7}
    assert_cut(window, which, picked, 4, limit)


def test_what_the_environment_ended_has_no_state_behind_it() -> None:
    picked = data(final=True).subset([0, 2, 4])
    window, _ = draw_windows(picked, generator(), 300, 4)
    assert torch.equal(window.present, window.mask)
    known, unknown = (draw_windows(each, generator(), 50, 4)[0] for each in (picked, data().subset([0, 2, 4])))
    assert all(torch.equal(getattr(known, f.name), getattr(unknown, f.name)) for f in fields(Window))


@pytest.mark.parametrize("length", [1, 4, 20])
@pytest.mark.parametrize("final", [False, True])
def test_the_last_position_is_uniform_over_all_positions(length: int, final: bool) -> None:
    """T positions, or T + 1 behind a time limit in a known state; but not alone in a window of one position."""
    picked = data(final=final)
    window, which = draw_windows(picked, generator(3), 25_000, length)
    last = window.timesteps[torch.arange(25_000), window.present.sum(1) - 1].numpy()
    counts = Counter(zip(which.tolist(), last.tolist(), strict=True))
    more = [final and length > 1 and not ended for ended in TERMINATED]
    assert set(counts) == {(i, t) for i, n in enumerate(LENGTHS) for t in range(n + more[i])}
    assert chisquare(list(counts.values())).pvalue > 1e-3


def test_terminals_are_the_last_steps_of_trajectories_that_ended() -> None:
    window, which = draw_windows(data(final=True), generator(), 2000, 4)
    marked = {(int(which[b]), int(window.timesteps[b, k])) for b, k in window.terminals.nonzero().tolist()}
    assert marked == {(0, 0), (2, 1), (4, 11)}  # 1 and 3 ran into the time limit


def test_windows_have_their_types() -> None:
    window, _ = draw_windows(data(final=True), generator(), 3, 4, 12)
    for name in ROWS:
        assert getattr(window, name).dtype == torch.float32
    assert window.timesteps.dtype == window.index.dtype == torch.int64
    assert window.terminals.dtype == window.mask.dtype == window.present.dtype == torch.bool
    assert window.observations.shape == (3, 4, 3) and window.actions.shape == (3, 4, 2)


def test_windows_from_float16_are_float32() -> None:
    half = replace(data(), observations=data().observations.astype(np.float16))
    assert draw_windows(half, generator(), 3, 4)[0].observations.dtype == torch.float32


def test_drawing_leaves_the_data_alone_and_depends_on_the_generator_alone() -> None:
    def flat(seed: int) -> list[np.ndarray]:
        batch = draw_batch(data(tasks=(1,) * 5, lengths=(4, 7, 5, 3, 12), final=True), generator(seed), 16, 5, 3)
        return [tensor.numpy() for tensor in batch.flat().values()]

    first, again, other = flat(1), flat(1), flat(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    picked = data(final=True)
    before = picked.digest()
    draw_windows(picked, generator(), 50, 4, 3)
    assert picked.digest() == before
