"""Meta-World 3.1.1: ML45 (45 manipulation tasks and 5 new ones), ML1 pick-place (50 goals) and MT50. FACTS 2 and 10.

Names, splits, goals and references are tables of our own, so that these suites can be listed and their data used
without the package. An environment or a script needs it: ``pip install 'trajtune[metaworld]'``.
"""

import functools
import json
from importlib.resources import files
from typing import Any

import numpy as np

from trajtune.suites.base import Array, Env, Suite, Task
from trajtune.suites.metaworld_env import REWARD, SEEN, VERSION, MetaWorldEnv
from trajtune.suites.metaworld_experts import MetaWorldScripts

# fmt: off
ML45_TRAIN = [
    "assembly", "basketball", "button-press-topdown", "button-press-topdown-wall", "button-press",
    "button-press-wall", "coffee-button", "coffee-pull", "coffee-push", "dial-turn", "disassemble", "door-close",
    "door-open", "drawer-close", "drawer-open", "faucet-open", "faucet-close", "hammer", "handle-press-side",
    "handle-press", "handle-pull-side", "handle-pull", "lever-pull", "pick-place-wall", "pick-out-of-hole",
    "push-back", "pick-place", "plate-slide", "plate-slide-side", "plate-slide-back", "plate-slide-back-side",
    "peg-insert-side", "peg-unplug-side", "soccer", "stick-push", "stick-pull", "push-wall", "push", "reach-wall",
    "reach", "shelf-place", "sweep-into", "sweep", "window-open", "window-close",
]
# fmt: on
ML45_TEST = ["bin-picking", "box-close", "hand-insert", "door-lock", "door-unlock"]
NAMES = tuple(f"{name}-v3" for name in (*ML45_TRAIN, *ML45_TEST))
"""All of Meta-World in the order of its ML45. MT50 keeps it, so that a number means the same task in both."""


def _make(horizon: int, task: Task) -> Env:
    return MetaWorldEnv(task.name, horizon)


def _make_pick_place(task: Task) -> Env:
    return MetaWorldEnv("pick-place-v3", 101, task.goal)


def _seen(observation: Array) -> Array:
    """Leave out what only experts see behind Meta-World's own observation: whether the goal is met."""
    return observation[:SEEN]


def _without_goal(observation: Array) -> Array:
    """Hide the goal as Meta-World's own ML benchmarks do: its three numbers are 0."""
    shown = np.array(observation[:SEEN])
    shown[-3:] = 0.0
    return shown


def _table(name: str) -> Any:
    return json.loads(files("trajtune.suites").joinpath(f"metaworld_{name}.json").read_text())


def _known(suite: str) -> tuple[dict[int, dict[str, float]], list[int]]:
    """Return the references of a suite's tasks, and those tasks whose script earns more if it rests after success."""
    table = _table("references").get(suite, {})
    numbers = ("random", "expert", "random_success", "expert_success")
    references = {int(task): {name: entry[name] for name in numbers} for task, entry in table.items()}
    return references, [int(task) for task, entry in table.items() if entry["holds"]]


def _all_fifty(name: str, summary: str, horizon: int, **more: Any) -> Suite:
    references, holding = _known(name)
    return Suite(
        name=name,
        summary=summary,
        observation_dim=SEEN,
        action_dim=4,
        horizons=horizon,
        tasks=tuple(Task(i, task) for i, task in enumerate(NAMES)),
        make=functools.partial(_make, horizon),
        view=_seen,
        has_success=True,
        experts={"scripted": MetaWorldScripts(frozenset(holding))},
        references=references,
        versions={"metaworld": VERSION, "reward": REWARD},
        **more,
    )


def ml45() -> Suite:
    """Forty-five tasks to train on and five that are new, goal visible, 200 steps (FACTS section 2)."""
    summary, count = "a robot arm does 45 things, and 5 new ones", len(ML45_TRAIN)
    return _all_fifty("metaworld-ml45", summary, 200, train=tuple(range(count)), test=tuple(range(count, len(NAMES))))


def mt50() -> Suite:
    """The fifty tasks for training and testing alike, in the 500 steps of published tables, which report success."""
    summary, every = "all 50 things a robot arm does; train and test tasks are the same", tuple(range(len(NAMES)))
    return _all_fifty("metaworld-mt50", summary, 500, train=every, test=every, metric="success")


def ml1_pick_place() -> Suite:
    """Fifty places to bring a puck to, hidden from agent and data; where the puck lies at first is the seed's.

    The library fixes the puck as well: then all episodes of an expert are one. Goals are those of its own
    ``ML1("pick-place-v3", seed=0)``.
    """
    test = (11, 17, 25, 36, 41)
    goals = _table("goals")["pick-place-v3"]
    references, holding = _known("metaworld-ml1-pick-place")
    return Suite(
        name="metaworld-ml1-pick-place",
        summary="a robot arm brings a puck to a hidden place",
        observation_dim=SEEN,
        action_dim=4,
        horizons=101,
        tasks=tuple(
            Task(i, f"goal ({x:.3f}, {y:.3f}, {z:.3f}) m", {"x": x, "y": y, "z": z}, (x, y, z))
            for i, (x, y, z) in enumerate(goals)
        ),
        train=tuple(i for i in range(len(goals)) if i not in test),
        test=test,
        make=_make_pick_place,
        view=_without_goal,
        has_success=True,
        experts={"scripted": MetaWorldScripts(frozenset(holding), "pick-place-v3")},
        references=references,
        versions={"metaworld": VERSION, "reward": REWARD},
    )
