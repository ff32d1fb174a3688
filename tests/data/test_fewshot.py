"""Few-shot sets and briefs: what they hold, what decides a run, and that no two draws share bits."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from tests.data.made import data, same
from tests.data.stores import sign
from trajtune.data.fewshot import PROMPTS, Brief, FewShot, few_shot, make_brief
from trajtune.data.setting import Setting
from trajtune.data.store import Dataset
from trajtune.data.trajectories import Trajectories
from trajtune.errors import UserError
from trajtune.seeds import stream
from trajtune.types import Prompt


def one_task(final: bool = False) -> Trajectories:
    return data((2, 9, 3), (4, 4, 4), final)


# Briefs


def test_make_brief() -> None:
    picked = one_task()
    made = make_brief(picked, 3, {"random": -3.0}, seed=0)
    assert made.prompts is not None and len(made.prompts) == PROMPTS
    assert made.target_return == pytest.approx(picked.returns.max()) and made.references == {"random": -3.0}
    assert set(made.prompts.observations[:, 0, 1].tolist()) == {2.0, 3.0}  # the first is too short
    assert same(made.prompts, make_brief(picked, 3, {}, seed=0).prompts)
    assert not same(made.prompts, make_brief(picked, 3, {}, seed=1).prompts)
    with pytest.raises(UserError, match="no trajectory has the 10 steps"):
        make_brief(picked, 10, {}, seed=0)


def test_what_the_agent_is_asked_for() -> None:
    """One of three lengths: 2 + 9 + 3 steps."""
    picked, known = one_task(), {"random": -3.0, "expert": 2.25}
    asked = [make_brief(picked, 3, known, 0, target=each).target_return for each in ("best", "mean", "expert", -7)]  # type: ignore[arg-type]
    assert asked == pytest.approx([picked.returns.max(), picked.returns.mean(), 2.25, -7.0])
    assert FewShot.of(picked, "own", 4, 2, target="mean").brief.target_return == pytest.approx(picked.returns.mean())
    with pytest.raises(UserError, match="target expert needs the expert's return, which is not known here"):
        make_brief(picked, 3, {"random": -3.0}, 0, target="expert")


def test_a_brief_without_prompts() -> None:
    made = make_brief(one_task(), 0, {}, seed=0)
    assert made.prompts is None and made.target_return == make_brief(one_task(), 3, {}, seed=0).target_return


def test_normalised_return() -> None:
    """(R - random) / (expert - random) with random -40 and expert -10."""
    known = Brief(None, 0.0, {"random": -40.0, "expert": -10.0})
    assert [known.normalised(r) for r in (-40.0, -10.0, -25.0, 20.0, -70.0)] == [0.0, 1.0, 0.5, 2.0, -1.0]
    for references in ({}, {"random": -40.0}, {"expert": -10.0}):
        assert Brief(None, 0.0, references).normalised(-10.0) is None


def test_the_digest_of_a_brief_is_of_all_of_it() -> None:
    made = make_brief(one_task(), 3, {"random": -3.0}, seed=0)
    prompts = made.prompts
    assert prompts is not None
    others = [
        replace(made, target_return=1.0),
        replace(made, references={"random": -4.0}),
        replace(made, delayed=True),
        replace(made, prompts=None),
        replace(made, prompts=prompts[:49]),
        *(replace(made, prompts=replace(prompts, **{f.name: getattr(prompts, f.name) + 1})) for f in fields(Prompt)),
    ]
    assert len({each.digest() for each in (made, *others)}) == len(others) + 1
    assert make_brief(one_task(), 3, {"random": -3.0}, seed=0).digest() == made.digest()


# Few-shot sets


def test_a_few_shot_set_of_a_dataset(pristine: Path) -> None:
    dataset = Dataset.open(pristine)
    few = few_shot(dataset, 3, Setting("medium", 2), seed=5, prompt_length=2)
    chosen = dataset.select([3], "medium", 2, 5).loaded()
    assert few.trajectories.digest() == chosen.digest() and few.trajectories.final_observations is not None
    assert (few.suite, few.task, few.setting, few.seed) == ("point", 3, Setting("medium", 2), 5)
    assert few.brief.references == {"random": -30.0, "expert": -3.0} and not few.brief.delayed
    assert few.brief.target_return == chosen.returns.max()
    assert same(few.brief.prompts, make_brief(chosen, 2, {}, 5).prompts)
    assert few.origin == {"dataset": "pristine", "digest": dataset.identity()}
    with pytest.raises(UserError, match="4 trajectories asked for, task 3 has 1 to 3"):
        few_shot(dataset, 3, Setting("medium", 4), 0, 2)


def test_trajectories_and_prompts_are_drawn_from_different_bits(pristine: Path) -> None:
    """``[seed, task]`` once drew both."""
    dataset = Dataset.open(pristine)
    for seed in range(3):
        found = np.flatnonzero((dataset.trajectories.task == 3) & (dataset.quality == 1))
        drawn = np.sort(stream(seed, "few-shot", 3).permutation(found)[:2])
        few = few_shot(dataset, 3, Setting("medium", 2), seed, 1)
        np.testing.assert_array_equal(few.trajectories.length, dataset.trajectories.length[drawn])
        first = stream(seed, "prompts", 3).choice(2, PROMPTS)
        states = few.trajectories.observations[few.trajectories.start[first]]
        assert few.brief.prompts is not None
        told = few.brief.prompts.timesteps[:, 0].numpy()
        at_start = few.brief.prompts.observations[:, 0].numpy()[told == 0]
        np.testing.assert_array_equal(at_start, states[told == 0])


def test_a_few_shot_set_says_which_reward_it_has(pristine: Path) -> None:
    picked = one_task(final=True)
    made = FewShot.of(picked, "own", 4, 2, reward="sparse")
    assert made.setting == Setting(None, 3, "sparse") and made.brief.delayed
    assert made.brief.target_return == pytest.approx(picked.returns.max()) and made.brief.prompts is not None
    assert set(made.brief.prompts.returns_to_go.flatten().tolist()) <= set(made.trajectories.returns.tolist())
    plain = FewShot.of(picked, "own", 4, 2)
    assert plain.setting.reward == "dense" and not plain.brief.delayed
    with pytest.raises(UserError, match="unknown reward 'spares': did you mean sparse"):
        FewShot.of(picked, "own", 4, 1, reward="spares")  # type: ignore[arg-type]
    few = few_shot(Dataset.open(pristine), 3, Setting(None, 4, "sparse"), 0, 0)
    assert few.setting == Setting(None, 4, "sparse") and few.brief.prompts is None and few.trajectories.terminated.all()


def test_a_few_shot_set_is_of_one_task() -> None:
    made = FewShot.of(one_task().subset([2, 1]), "own", 9, 2)
    assert made.trajectories.task.tolist() == [9, 9] and made.trajectories.start.tolist() == [0, 3]
    with pytest.raises(UserError, match="there are no trajectories"):
        FewShot.of(one_task().subset(np.array([], int)), "own", 9, 2)


def test_identity_is_what_decides_a_run_and_nothing_else() -> None:
    made = FewShot.of(one_task(), "own", 4, 2, {"random": -3.0}, seed=1, origin={"base": "mine", "seed": 99})
    told = made.identity()
    assert json.loads(json.dumps(told)) == told
    assert {name: told[name] for name in ("suite", "task", "seed")} == {"suite": "own", "task": 4, "seed": 1}
    assert told["setting"] == {"quality": None, "trajectories": 3, "reward": "dense", "target": "best"}
    assert replace(made, origin={}).identity() == told
    changed = [
        FewShot.of(one_task(), "other", 4, 2, {"random": -3.0}, seed=1),
        FewShot.of(one_task(), "own", 5, 2, {"random": -3.0}, seed=1),
        FewShot.of(one_task(), "own", 4, 3, {"random": -3.0}, seed=1),
        FewShot.of(one_task(), "own", 4, 2, {"random": -4.0}, seed=1),
        FewShot.of(one_task(), "own", 4, 2, {"random": -3.0}, seed=2),
        FewShot.of(one_task(), "own", 4, 2, {"random": -3.0}, seed=1, reward="sparse"),
        FewShot.of(one_task(), "own", 4, 2, {"random": -3.0}, seed=1, target="mean"),
        FewShot.of(one_task(final=True), "own", 4, 2, {"random": -3.0}, seed=1),
        FewShot.of(one_task().subset([0, 1]), "own", 4, 2, {"random": -3.0}, seed=1),
    ]
    assert len({json.dumps(each.identity()) for each in (made, *changed)}) == len(changed) + 1


def test_a_damaged_dataset_is_named(folder: Path) -> None:
    array = np.load(folder / "rewards.npy")
    array[:] = np.nan
    np.save(folder / "rewards.npy", array)
    sign(folder)
    with pytest.raises(UserError, match=f"{folder} is damaged: the data has a non-finite number in rewards"):
        few_shot(Dataset.open(folder), 3, Setting("medium", 1), 0, 1)


def test_they_print_as_one_short_line() -> None:
    made = FewShot.of(one_task(), "own", 4, 2, {"random": -3.0, "expert": 2.25})
    target = f"target {made.brief.target_return:.4g}"
    assert repr(made) == f"FewShot(own task 4: 3 own trajectories, 14 steps, dense reward, {target})"
    assert repr(made.brief) == f"Brief(50 prompts, {target}, random -3, expert 2.25)"
    assert repr(Brief(None, 1.0, {}, True)) == "Brief(no prompts, target 1, no references, delayed)"
