"""Ant-Dir: run in a direction of the plane. FACTS section 2."""

import numpy as np

from trajtune.suites.base import Array, Env, Relabel, Suite, Task
from trajtune.suites.references import shipped_references

HORIZON = 200
CONTROL_COST = 0.5
ALIVE = 1.0  # constant: it does not end with a fall


def direction_reward(achieved: Array, action: Array, goal: Array) -> Array:
    """v_xy . (cos g, sin g) - 0.5 * sum(a^2) + 1, with the unclipped action."""
    along = achieved[..., 0] * goal[..., 0] + achieved[..., 1] * goal[..., 1]
    return along - CONTROL_COST * np.sum(np.square(action), axis=-1) + ALIVE


def _make(task: Task) -> Env:
    from trajtune.suites.mujoco_envs import DirectionAntEnv

    return DirectionAntEnv(direction_reward, task.goal, HORIZON)


def _make_ending_on_fall(task: Task) -> Env:
    from trajtune.suites.mujoco_envs import DirectionAntEnv

    return DirectionAntEnv(direction_reward, task.goal, HORIZON, terminate_on_fall=True)


def _unit(angle: Array) -> Array:
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _random_directions(rng: np.random.Generator, n: int) -> Array:
    return _unit(rng.uniform(0.0, 2 * np.pi, n))


def _nearby_directions(rng: np.random.Generator, achieved: Array) -> Array:
    return _unit(np.arctan2(achieved[:, 1], achieved[:, 0]) + rng.normal(0.0, 0.3, len(achieved)))


def _suite(name: str, summary: str, test: tuple[int, ...], on_fall: bool, variant_of: str | None) -> Suite:
    angles = 2 * np.pi * np.arange(50) / 50
    return Suite(
        name=name,
        summary=summary,
        observation_dim=27,
        action_dim=8,
        horizons=HORIZON,
        tasks=tuple(
            Task(i, f"{np.degrees(a):.1f} degrees", {"angle": float(a)}, (float(np.cos(a)), float(np.sin(a))))
            for i, a in enumerate(angles)
        ),
        train=tuple(i for i in range(50) if i not in test),
        test=test,
        make=_make_ending_on_fall if on_fall else _make,
        relabel=Relabel(direction_reward, _random_directions, _nearby_directions),
        expert_updates=800_000,
        references=shipped_references(name),
        variant_of=variant_of,
    )


def ant_dir() -> Suite:
    """Fifty directions in [0, 2 pi); the five test directions are 72 degrees apart."""
    return _suite("ant-dir", "Ant runs in a direction", (4, 14, 24, 34, 44), False, None)


def ant_dir_pdt() -> Suite:
    """Prompt-DT's own protocol: an episode ends on a fall."""
    return _suite("ant-dir-pdt", "Prompt-DT's: an episode ends on a fall", (6, 17, 23, 30, 41), True, "ant-dir")
