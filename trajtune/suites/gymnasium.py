"""Any environment of Gymnasium as a suite of one task: ``gym:Hopper-v5``. Its own reward, terminations and length.

Nothing can be relabelled and there is no second task, so what remains is one body and its return.
"""

import functools
from typing import Any

import numpy as np

from trajtune.errors import UserError, first_line
from trajtune.suites.base import Array, Env, Suite, Task

UPDATES = 100_000
"""Gradient steps of a SAC expert unless ``--updates`` says otherwise: enough for the smaller bodies."""


class RescaledEnv:
    """An environment of Gymnasium with actions in [-1, 1] and observations in float64.

    Actions outside are clipped, as a tanh mean never leaves the box but the noise of an expert may.
    """

    def __init__(self, env: Any) -> None:
        self._env, box = env, env.action_space
        self._low, self._high = box.low.astype(np.float64), box.high.astype(np.float64)
        self._dtype = box.dtype

    def reset(self, *, seed: int | None = None) -> tuple[Array, dict[str, Any]]:
        observation, info = self._env.reset(seed=seed)
        return np.array(observation, np.float64), info

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        share = (np.clip(np.asarray(action, np.float64), -1.0, 1.0) + 1.0) / 2.0
        scaled = (self._low + share * (self._high - self._low)).astype(self._dtype)
        observation, reward, terminated, truncated, info = self._env.step(scaled)
        return np.array(observation, np.float64), float(reward), bool(terminated), bool(truncated), info

    def close(self) -> None:
        self._env.close()


def gym_suite(name: str) -> Suite:
    """Make the suite ``gym:NAME``; what cannot be one is a ``UserError`` that says why."""
    env, steps = _checked(name)
    sizes = env.observation_space.shape[0], env.action_space.shape[0]
    env.close()
    return Suite(
        name=f"gym:{name}",
        summary=f"{name} of Gymnasium: its own reward and terminations",
        observation_dim=sizes[0],
        action_dim=sizes[1],
        horizons=steps,
        tasks=(Task(0, name),),
        train=(0,),
        test=(0,),
        make=functools.partial(_make, name),
        expert_updates=UPDATES,
    )


def _make(name: str, task: Task) -> Env:
    import gymnasium

    return RescaledEnv(gymnasium.make(name, disable_env_checker=True))


def _checked(name: str) -> tuple[Any, int]:
    """Make an environment once and look whether it fits: a vector in, a bounded vector out, an end in sight."""
    import gymnasium

    try:
        env = gymnasium.make(name, disable_env_checker=True)
    except Exception as error:  # whatever the making of another package's environment may raise
        wanted = "choose an ID such as gym:Hopper-v5"
        raise UserError(f"Gymnasium makes no {name[:80]!r} ({first_line(error).rstrip('.')}): {wanted}") from None
    try:
        _check_space("observations", env.observation_space, name)
        _check_space("actions", env.action_space, name)
        box = env.action_space
        if not (np.isfinite(box.low) & np.isfinite(box.high) & (box.low < box.high)).all():
            raise UserError(f"gym:{name} has an unbounded action box ({box}): wrap it in one with finite bounds")
        steps = None if env.spec is None else env.spec.max_episode_steps
        if steps is None:
            raise UserError(f"gym:{name} has no time limit: register it with max_episode_steps")
    except UserError:
        env.close()
        raise
    return env, int(steps)


def _check_space(what: str, space: Any, name: str) -> None:
    from gymnasium.spaces import Box

    if isinstance(space, Box) and len(space.shape) == 1 and space.shape[0] and np.issubdtype(space.dtype, np.floating):
        return
    found = f"Box {space.shape} of {space.dtype}" if isinstance(space, Box) else type(space).__name__
    raise UserError(f"gym:{name} has {what} of the kind {found}: only a float Box of one dimension is supported")
