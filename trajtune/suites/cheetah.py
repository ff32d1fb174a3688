"""Cheetah-Vel (run at a target velocity) and Cheetah-Dir (run forward or backward). FACTS section 2."""

import numpy as np

from trajtune.suites.base import Array, Env, Relabel, Suite, Task
from trajtune.suites.references import shipped_references

HORIZON = 200
CONTROL_COST = 0.05
LOWEST, HIGHEST = 0.075, 3.0


def velocity_reward(achieved: Array, action: Array, goal: Array) -> Array:
    """-|vx - v*| - 0.05 * sum(a^2), with the unclipped action."""
    return -np.abs(achieved[..., 0] - goal[..., 0]) - CONTROL_COST * np.sum(np.square(action), axis=-1)


def direction_reward(achieved: Array, action: Array, goal: Array) -> Array:
    """dir * vx - 0.05 * sum(a^2), with the unclipped action."""
    return goal[..., 0] * achieved[..., 0] - CONTROL_COST * np.sum(np.square(action), axis=-1)


def _make_velocity(task: Task) -> Env:
    from trajtune.suites.mujoco_envs import CheetahEnv

    return CheetahEnv(velocity_reward, task.goal, HORIZON)


def _make_direction(task: Task) -> Env:
    from trajtune.suites.mujoco_envs import CheetahEnv

    return CheetahEnv(direction_reward, task.goal, HORIZON)


def _random_velocities(rng: np.random.Generator, n: int) -> Array:
    return rng.uniform(LOWEST, HIGHEST, (n, 1))


def _nearby_velocities(rng: np.random.Generator, achieved: Array) -> Array:
    return np.clip(achieved + rng.normal(0.0, 0.2, achieved.shape), LOWEST, HIGHEST)


def _random_directions(rng: np.random.Generator, n: int) -> Array:
    return rng.choice([-1.0, 1.0], (n, 1))


def _nearby_directions(rng: np.random.Generator, achieved: Array) -> Array:
    return np.where(achieved >= 0.0, 1.0, -1.0)


def _velocity_suite(name: str, summary: str, count: int, test: tuple[int, ...], variant_of: str | None) -> Suite:
    velocities = np.linspace(LOWEST, HIGHEST, count)
    return Suite(
        name=name,
        summary=summary,
        observation_dim=20,
        action_dim=6,
        horizons=HORIZON,
        tasks=tuple(Task(i, f"v*={v:.3f} m/s", {"velocity": float(v)}, (float(v),)) for i, v in enumerate(velocities)),
        train=tuple(i for i in range(count) if i not in test),
        test=test,
        make=_make_velocity,
        relabel=Relabel(velocity_reward, _random_velocities, _nearby_velocities),
        expert_updates=240_000,
        references=shipped_references(name),
        variant_of=variant_of,
    )


def cheetah_vel() -> Suite:
    """Fifty target velocities; the five test targets are interior and spread out."""
    return _velocity_suite("cheetah-vel", "HalfCheetah runs at a target velocity", 50, (5, 15, 25, 35, 45), None)


def cheetah_vel_pdt() -> Suite:
    """Prompt-DT's own protocol: forty velocities and its five test targets."""
    return _velocity_suite("cheetah-vel-pdt", "Prompt-DT's forty velocities", 40, (2, 7, 15, 23, 26), "cheetah-vel")


def cheetah_dir() -> Suite:
    """Two directions, train and test alike: it measures no generalisation to unseen tasks."""
    names = {1.0: "forward", -1.0: "backward"}
    return Suite(
        name="cheetah-dir",
        summary="HalfCheetah runs forward or backward (train and test tasks are the same two)",
        observation_dim=20,
        action_dim=6,
        horizons=HORIZON,
        tasks=tuple(Task(i, names[d], {"direction": d}, (d,)) for i, d in enumerate((1.0, -1.0))),
        train=(0, 1),
        test=(0, 1),
        make=_make_direction,
        relabel=Relabel(direction_reward, _random_directions, _nearby_directions),
        expert_updates=240_000,
        references=shipped_references("cheetah-dir"),
    )
