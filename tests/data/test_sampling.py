"""Windows and prompts against naive loops: which rows, which padding, how often, from which task."""

import json
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from trajtune.data.prompts import PROMPTS

from trajtune.data import (
    TaskPrompts,
    Trajectories,
    draw_batch,
    draw_prompts,
    draw_windows,
    load_prompts,
    make_prompts,
    save_prompts,
)
from trajtune.data.trajectories import from_episodes, returns_to_go
from trajtune.errors import UserError
from trajtune.files import sha256
from trajtune.types import Prompt

LENGTHS = (1, 7, 2, 3, 12)
TASKS = (2, 2, 5, 5, 5)
TERMINATED = (True, False, True, False, True)


def episode(number: int, task: int, length: int, terminated: bool) -> dict[str, Any]:
    """Observations say where they come from: (task, trajectory, step), all from 1 on, because padding is zero."""
    t = np.arange(length)
    return {
        "observations": np.stack([np.full(length, task), np.full(length, number + 1), t + 1], axis=1),
        "actions": np.stack([100.0 * (number + 1) + t, -1.0 - t], axis=1),
        "rewards": np.random.default_rng(number).normal(size=length),
        "terminated": terminated,
    }


def data(lengths: tuple[int, ...] = LENGTHS, tasks: tuple[int, ...] = TASKS) -> Trajectories:
    ended = (TERMINATED * len(lengths))[: len(lengths)]
    episodes = [episode(i, task, n, end) for i, (n, task, end) in enumerate(zip(lengths, tasks, ended, strict=True))]
    return replace(from_episodes(episodes), task=np.array(tasks))


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# Windows


@pytest.mark.parametrize("length", [1, 2, 5, 20])
@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4], [4, 2, 0], [3]])
def test_windows_are_what_a_loop_cuts(length: int, rows: list[int]) -> None:
    picked = data().subset(rows)  # whose steps do not lie one behind the other
    window, which = draw_windows(picked, generator(), 200, length)
    assert len(window.mask) == len(which) == 200
    for b in range(200):
        i = int(which[b])
        start, n = int(picked.start[i]), int(picked.length[i])
        valid = int(window.mask[b].sum())
        last = int(window.timesteps[b, valid - 1])
        assert 1 <= valid == min(length, last + 1) and last < n
        for k in range(length):
            t = last - valid + 1 + k
            if k < valid:
                assert window.mask[b, k] and window.timesteps[b, k] == t
                for name in ("observations", "actions", "rewards", "returns_to_go"):
                    np.testing.assert_array_equal(getattr(window, name)[b, k], getattr(picked, name)[start + t])
                assert int(window.index[b, k]) == start + t
                assert bool(window.terminals[b, k]) == (bool(picked.terminated[i]) and t == n - 1)
            else:  # padding: on the right, and zero
                for field in fields(window):
                    assert not getattr(window, field.name)[b, k].any()


def test_windows_have_their_types() -> None:
    window, _ = draw_windows(data(), generator(), 3, 4)
    for name in ("observations", "actions", "rewards", "returns_to_go"):
        assert getattr(window, name).dtype == torch.float32
    assert window.timesteps.dtype == window.index.dtype == torch.int64
    assert window.terminals.dtype == window.mask.dtype == torch.bool
    assert window.observations.shape == (3, 4, 3) and window.actions.shape == (3, 4, 2)


def test_windows_from_float16_are_float32() -> None:
    half = replace(data(), observations=data().observations.astype(np.float16))
    assert draw_windows(half, generator(), 3, 4)[0].observations.dtype == torch.float32


def test_terminals_are_the_last_steps_of_trajectories_that_ended() -> None:
    picked = data()
    window, which = draw_windows(picked, generator(), 2000, 4)
    marked = {(int(which[b]), int(window.timesteps[b, k])) for b, k in window.terminals.nonzero().tolist()}
    assert marked == {(0, 0), (2, 1), (4, 11)}  # 1 and 3 ran into the time limit


@pytest.mark.parametrize("length", [1, 4, 20])
def test_the_last_step_is_uniform_over_all_steps(length: int) -> None:
    picked = data()
    window, which = draw_windows(picked, generator(3), 25_000, length)
    last = window.timesteps[torch.arange(25_000), window.mask.sum(1) - 1].numpy()
    counts = Counter(zip(which.tolist(), last.tolist(), strict=True))
    assert set(counts) == {(i, t) for i, n in enumerate(LENGTHS) for t in range(n)}
    assert chisquare(list(counts.values())).pvalue > 1e-3


def test_drawing_depends_on_the_generator_alone() -> None:
    def flat(seed: int) -> list[np.ndarray]:
        batch = draw_batch(data(tasks=(1,) * 5, lengths=(4, 7, 5, 3, 12)), generator(seed), 16, 5, 3)
        return [getattr(part, f.name).numpy() for part in (batch.prompt, batch.window) for f in fields(part)]

    first, again, other = flat(1), flat(1), flat(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


# Prompts

LONG, FOUR_TASKS = (5, 9, 3, 4, 6, 3, 8), (1, 1, 2, 4, 4, 4, 9)


def test_prompts_are_of_the_windows_task() -> None:
    picked = data(LONG, FOUR_TASKS)
    batch = draw_batch(picked, generator(), 4000, 6, 3)
    tasks = batch.window.observations[:, 0, 0]
    assert set(tasks.tolist()) == {1.0, 2.0, 4.0, 9.0}
    assert (batch.prompt.observations[:, :, 0] == tasks[:, None]).all()


def test_prompts_are_uniform_over_the_tasks_trajectories_and_their_starts() -> None:
    picked = data(LONG, FOUR_TASKS)
    prompt = draw_batch(picked, generator(5), 30_000, 2, 3).prompt
    task, number, step = prompt.observations[:, 0].T.to(torch.int64)
    trajectories = Counter(number[task == 4].tolist())
    assert set(trajectories) == {4, 5, 6}
    assert chisquare(list(trajectories.values())).pvalue > 1e-3
    starts = Counter(step[number == 5].tolist())  # six steps: four starts
    assert set(starts) == {1, 2, 3, 4}
    assert chisquare(list(starts.values())).pvalue > 1e-3


def test_prompts_are_what_a_loop_cuts() -> None:
    picked = data(LONG, FOUR_TASKS).subset([6, 1, 4])
    which = generator().integers(3, size=100)
    prompt = draw_prompts(picked, generator(1), which, 3)
    assert len(prompt) == 100 and prompt.timesteps.dtype == torch.int64
    for b, i in enumerate(which):
        first = int(prompt.timesteps[b, 0])
        assert prompt.timesteps[b].tolist() == [first, first + 1, first + 2]
        assert first + 3 <= picked.length[i]
        rows = slice(picked.start[i] + first, picked.start[i] + first + 3)
        for name in ("observations", "actions", "returns_to_go"):
            np.testing.assert_array_equal(getattr(prompt, name)[b], getattr(picked, name)[rows])


def test_a_prompt_may_be_a_whole_trajectory_and_no_longer() -> None:
    picked = data((3, 5), (0, 0))
    assert draw_prompts(picked, generator(), np.array([0, 0]), 3).timesteps.tolist() == [[0, 1, 2]] * 2
    with pytest.raises(UserError, match="a trajectory has 3 steps, fewer than the prompt's 4"):
        draw_prompts(picked, generator(), np.array([1, 0]), 4)


# Trajectories


def test_returns_to_go_are_what_a_loop_sums() -> None:
    rewards = generator().normal(size=50).astype(np.float32)
    naive = [sum(float(r) for r in rewards[t:]) for t in range(50)]
    found = returns_to_go(rewards)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, naive, rtol=1e-6, atol=1e-6)


def test_returns_to_go_do_not_lose_small_rewards() -> None:
    """In float32, 2^24 + 1 is 2^24: a sum kept in float32 would stand still."""
    rewards = np.ones(9, np.float32)
    rewards[-1] = 2.0**24
    assert returns_to_go(rewards)[0] == 2**24 + 8


def test_from_episodes() -> None:
    picked = from_episodes([episode(0, 3, 4, False), episode(1, 3, 2, True)], task=3)
    assert picked.start.tolist() == [0, 4] and picked.length.tolist() == [4, 2] and picked.steps == 6
    assert picked.task.tolist() == [3, 3] and picked.terminated.tolist() == [False, True]
    assert picked.observations.dtype == picked.actions.dtype == picked.rewards.dtype == np.float32
    for i in range(2):
        rewards = episode(i, 3, (4, 2)[i], False)["rewards"]
        np.testing.assert_allclose(picked.returns[i], rewards.sum(), rtol=1e-6)


def test_from_episodes_takes_lists() -> None:
    picked = from_episodes([{"observations": [[0.0], [1.0]], "actions": [[1.0], [1.0]], "rewards": [1, 2]}])
    assert picked.returns_to_go.tolist() == [3.0, 2.0] and not picked.terminated[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rewards": np.ones(3)}, "trajectory 1 needs as many"),
        ({"actions": np.ones((5, 2))}, "trajectory 1 needs as many"),
        ({"observations": np.ones((0, 3)), "actions": np.ones((0, 2)), "rewards": np.ones(0)}, "trajectory 1 needs"),
        ({"rewards": np.ones((4, 1))}, r"trajectory 1: rewards has shape \(4, 1\), expected \[T\]"),
        ({"observations": np.ones(4)}, "trajectory 1: observations has shape"),
        ({"observations": np.ones((4, 2))}, "trajectory 1: observations has shape .* same size in every"),
        ({"actions": 1.0}, "trajectory 1: actions has shape"),
        ({"rewards": np.array([0, np.nan, 0, 0])}, "non-finite number in rewards of trajectory 1"),
        ({"observations": np.full((4, 3), np.inf)}, "non-finite number in observations of trajectory 1"),
    ],
)
def test_from_episodes_refuses(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        from_episodes([episode(0, 0, 2, False), {**episode(1, 0, 4, False), **change}])


def test_from_episodes_refuses_what_is_missing() -> None:
    with pytest.raises(UserError, match="no trajectories"):
        from_episodes([])
    incomplete = episode(0, 0, 4, False)
    del incomplete["rewards"]
    with pytest.raises(UserError, match="trajectory 0 has no rewards"):
        from_episodes([incomplete])


# The prompts that evaluation uses


def bank() -> dict[int, TaskPrompts]:
    picked = data(LONG, FOUR_TASKS)
    references = {2: {"random": -30.0, "expert": -3.0}, 6: {}}
    return {
        task: make_prompts(picked.subset(np.flatnonzero(picked.task == FOUR_TASKS[i])), 3, references[task], seed=task)
        for i, task in ((4, 2), (0, 6))
    }


def same(left: Prompt, right: Prompt) -> bool:
    return all(torch.equal(getattr(left, f.name), getattr(right, f.name)) for f in fields(Prompt))


def test_task_prompts_come_back(tmp_path: Path) -> None:
    saved = bank()
    saved[2] = replace(saved[2], delayed=True)
    save_prompts(tmp_path, saved)
    loaded = load_prompts(tmp_path)
    assert [entry.delayed for entry in loaded.values()] == [True, False]
    assert list(loaded) == [2, 6]
    for task, entry in loaded.items():
        assert same(entry.prompts, saved[task].prompts)
        assert entry.prompts.timesteps.dtype == torch.int64
        assert (entry.target_return, entry.references) == (saved[task].target_return, saved[task].references)


def test_make_prompts() -> None:
    picked = data((2, 9, 3), (4, 4, 4))
    made = make_prompts(picked, 3, {}, seed=0)
    assert len(made.prompts) == PROMPTS and made.target_return == pytest.approx(picked.returns.max())
    assert set(made.prompts.observations[:, 0, 1].tolist()) == {2.0, 3.0}  # the first is too short
    assert same(made.prompts, make_prompts(picked, 3, {}, seed=0).prompts)
    assert not same(made.prompts, make_prompts(picked, 3, {}, seed=1).prompts)
    with pytest.raises(UserError, match="no trajectory has the 10 steps"):
        make_prompts(picked, 10, {}, seed=0)


def test_normalised_return() -> None:
    """(R - random) / (expert - random) with random -40 and expert -10."""
    prompts = bank()[2].prompts
    known = TaskPrompts(prompts, 0.0, {"random": -40.0, "expert": -10.0})
    assert [known.normalised(r) for r in (-40.0, -10.0, -25.0, 20.0, -70.0)] == [0.0, 1.0, 0.5, 2.0, -1.0]
    for references in ({}, {"random": -40.0}, {"expert": -10.0}):
        assert TaskPrompts(prompts, 0.0, references).normalised(-10.0) is None


def test_damaged_prompts_are_a_user_error(tmp_path: Path) -> None:
    """A changed number in the JSON may pass; in the tensors nothing does."""
    saved = bank()
    save_prompts(tmp_path, saved)
    rng = generator()
    for name in ("prompts.json", "prompts.safetensors"):
        raw = (tmp_path / name).read_bytes()
        header = min(len(raw), 8 + int.from_bytes(raw[:8], "little")) if name.endswith("tensors") else len(raw)
        damaged = [raw[:end] for end in range(0, len(raw) - 1, max(1, len(raw) // 40))]
        for _ in range(200):
            flipped = bytearray(raw)
            flipped[rng.integers(header)] ^= int(1 << rng.integers(8))
            damaged.append(bytes(flipped))
        refused: list[str] = []
        for content in damaged:
            (tmp_path / name).write_bytes(content)
            try:
                loaded = load_prompts(tmp_path)
            except UserError as error:
                refused.append(str(error))
                continue
            assert name == "prompts.json"
            assert all(entry.prompts.observations.shape == (PROMPTS, 3, 3) for entry in loaded.values())
        assert len(refused) > 50 and all("prompts." in line and "\n" not in line for line in refused)
        (tmp_path / name).write_bytes(raw)
    assert same(load_prompts(tmp_path)[2].prompts, saved[2].prompts)


@pytest.mark.parametrize("name", ["prompts.json", "prompts.safetensors"])
def test_missing_prompts_are_named(tmp_path: Path, name: str) -> None:
    save_prompts(tmp_path, bank())
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=name):
        load_prompts(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        '{"3": {"target_return": 1.0, "references": {}}}',
        '{"x": {"target_return": 1.0, "references": {}}}',
        '{"2": {"references": {}}}',
        '{"2": {"target_return": 1.0}}',
        '{"2": {"target_return": "high", "references": {}}}',
        '{"2": {"target_return": NaN, "references": {}}}',
        '{"2": {"target_return": 1.0, "references": {"random": Infinity}}}',
        '{"2": {"target_return": 1.0, "references": []}}',
        '{"2": {"target_return": 1' + "0" * 400 + ', "references": {}}}',
        '{"2": []}',
        "[]",
    ],
)
def test_prompts_that_do_not_match_their_arrays(tmp_path: Path, text: str) -> None:
    save_prompts(tmp_path, bank())
    digest = sha256(tmp_path / "prompts.safetensors")
    (tmp_path / "prompts.json").write_text(f'{{"sha256": "{digest}", "tasks": {text}}}')
    with pytest.raises(UserError, match=r"prompts\.json"):
        load_prompts(tmp_path)


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

    save_prompts(tmp_path, bank())
    path = tmp_path / "prompts.safetensors"
    arrays = load_file(path)
    arrays[f"2.{name}"] = np.ascontiguousarray(change(arrays[f"2.{name}"]))
    save_file(arrays, path)
    about = json.loads((tmp_path / "prompts.json").read_text())
    (tmp_path / "prompts.json").write_text(json.dumps({**about, "sha256": sha256(path)}))
    with pytest.raises(UserError, match=r"prompts\.safetensors is damaged: its 2\."):
        load_prompts(tmp_path)
