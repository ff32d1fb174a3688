"""Experts that are programs: closed forms, or scripts that remember what they did in an episode."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from trajtune.progress import Progress
from trajtune.suites.base import Act, Acting, Array, Rung, Suite, Task

Script = Callable[[Task, int], Callable[[Array], Array]]
"""(task, n) -> a fresh script of n episodes: raw observations [n, R] -> actions [n, A], called once a step."""
NOISE = (*(float(x) for x in np.geomspace(10.0, 0.3, 16)), 0.0)
"""Deviations of the noise that stand for a script's checkpoints, from nearly random to the best."""


@dataclass(frozen=True)
class Scripted:
    """A script as a source of experts; its weaker rungs are the script with noise on its actions."""

    script: Script = field(repr=False)
    noise: tuple[float, ...] = NOISE
    summary: str = "a script"

    def check(self, suite: Suite, qualities: Sequence[str], updates: int) -> None:
        """A script is always ready."""

    def ladders(
        self, suite: Suite, tasks: Sequence[int], folder: Path, updates: int, seed: int, progress: Progress
    ) -> dict[int, list[Rung]]:
        """Return the same rungs for every task: nothing has to be prepared."""
        rungs = [Rung(f"script + {scale:.3g} noise" if scale else "script", repr(scale)) for scale in self.noise]
        return {task: rungs for task in tasks}

    def acting(self, suite: Suite, task: int, rung: Rung) -> Acting:
        """Return the script of a task with a rung's noise."""
        scale = float(rung.key)

        def begin(n: int) -> Act:
            script = self.script(suite.task(task), n)

            def act(observations: Array, noise: Array) -> Array:
                return np.clip(script(observations) + scale * noise, -1.0, 1.0).astype(np.float32)

            return act

        return begin


def closed_form(function: Callable[[Array, Array], Array]) -> Script:
    """Make a script of a function without memory: (observations [n, R], goals [n, G]) -> actions [n, A]."""

    def script(task: Task, n: int) -> Callable[[Array], Array]:
        goals = np.tile(np.asarray(task.goal), (n, 1))
        return lambda observations: function(observations, goals)

    return script
