"""Meta-World's scripted policies as a source of experts. They see the goal; what data show is the suite's affair."""

import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trajtune.progress import Progress
from trajtune.suites.base import Act, Acting, Array, Rung, Suite
from trajtune.suites.metaworld_env import SEEN, require_metaworld

EPSILONS = tuple((19 - i) / 20 for i in range(20))
"""Shares of steps at which a random action takes the place of the script's: from nearly always to never."""


@functools.cache
def _policies() -> dict[str, Any]:
    from metaworld.policies import ENV_POLICY_MAP

    found: dict[str, Any] = ENV_POLICY_MAP
    return found


class _Script:
    """The script of one episode. Holding, it rests once the goal was met, with the gripper as it was then."""

    def __init__(self, name: str, holds: bool) -> None:
        self._policy, self._holds = _policies()[name](), holds
        self._last = np.zeros(4, np.float32)
        self._met = False

    def __call__(self, observation: Array) -> Array:
        """Raw observation [40] -> action [4]."""
        self._met = self._met or bool(observation[SEEN])
        if self._holds and self._met:
            self._last = np.array([0.0, 0.0, 0.0, self._last[3]], np.float32)
        else:
            self._last = np.clip(self._policy.get_action(observation[:SEEN]), -1.0, 1.0)
        return self._last


@dataclass(frozen=True)
class MetaWorldScripts:
    """The bundled scripts; weaker rungs act at random in a share of their steps (FACTS section 2)."""

    holding: frozenset[int] = field(default=frozenset(), repr=False)
    """The tasks in which it is better to rest after success than to go on."""
    name: str | None = None
    """Meta-World's name of the task, if it is the same for all tasks of the suite; else the task's own."""
    summary: str = "the scripts that come with Meta-World; they see the goal"

    def check(self, suite: Suite, qualities: Sequence[str], updates: int) -> None:
        """Ask for the package."""
        require_metaworld()

    def ladders(
        self, suite: Suite, tasks: Sequence[int], folder: Path, updates: int, seed: int, progress: Progress
    ) -> dict[int, list[Rung]]:
        """Return the same rungs for every task: nothing has to be prepared."""
        rungs = [Rung(f"script, {share:.0%} random" if share else "script", repr(share)) for share in EPSILONS]
        return {task: rungs for task in tasks}

    def acting(self, suite: Suite, task: int, rung: Rung) -> Acting:
        """Return the script of a task; at a share of the steps its action is a uniform one."""
        name, share = self.name or suite.task(task).name, float(rung.key)

        def begin(n: int) -> Act:
            scripts = [_Script(name, task in self.holding) for _ in range(n)]

            def act(observations: Array, noise: Array) -> Array:
                with warnings.catch_warnings():  # they ask for more than [-1, 1] as a matter of course, and say so
                    warnings.simplefilter("ignore")
                    actions = np.stack([script(each) for script, each in zip(scripts, observations, strict=True)])
                return mostly(actions, noise, share)

            return act

        return begin


def mostly(actions: Array, noise: Array, share: float) -> Array:
    """Replace a share of the rows of actions [n, A] by uniform ones, both drawn from the normal noise [n, A].

    The first column decides: a uniform number u falls below ``share``, and then u / share is uniform, too.
    """
    if share == 0.0:
        return actions
    from scipy.special import ndtr

    uniform = ndtr(noise)
    chosen = uniform[:, 0] < share
    uniform[:, 0] /= share
    return np.where(chosen[:, None], 2.0 * uniform - 1.0, actions).astype(np.float32)
