"""Bodies of Meta-World that keep what its own do not: the seed decides an episode, and many share one model.

FACTS sections 2 and 10. The library ignores ``reset(seed=)``, draws goals from NumPy's global state or freezes one by
unpickling a ``Task.data``, takes 20 s to build a benchmark, and compiles 20 MB of meshes anew for every environment.
Nothing of it is imported before an environment is made.
"""

import functools
from importlib import metadata
from typing import Any

import numpy as np

from trajtune.errors import UserError
from trajtune.seeds import stream
from trajtune.suites.base import Array

VERSION = "3.1.1"
"""Of Meta-World. 3.0.0 has other rewards, and another set of scripts."""
REWARD = "v2"
"""Of Meta-World's reward functions. Its own None silently means v1."""
SEEN = 39
"""Numbers of Meta-World's observation: 18 now, 18 of the step before, 3 of the goal."""


def require_metaworld() -> None:
    """Raise a ``UserError`` unless the one version that our data, scripts and references belong to is installed."""
    wanted = "pip install 'trajtune[metaworld]'"
    try:
        found = metadata.version("metaworld")
    except metadata.PackageNotFoundError:
        raise UserError(f"the suites of Meta-World need an extra: {wanted}") from None
    if found != VERSION:
        raise UserError(f"Meta-World {found} is installed, whose rewards are not those of {VERSION}: {wanted}")


class _Shared:
    """One compiled model for all bodies of a task, with the positions that a reset writes into it.

    They are put back for whoever acts next; FACTS: a reset moves bodies and sites, nothing else of a model.
    """

    def __init__(self, path: str) -> None:
        import mujoco

        self.model = mujoco.MjModel.from_xml_path(path)
        self.first = self.positions()
        self.owner: object = None

    def positions(self) -> tuple[Array, Array]:
        return self.model.body_pos.copy(), self.model.site_pos.copy()

    def put(self, positions: tuple[Array, Array], owner: object) -> None:
        if self.owner is not owner:
            self.model.body_pos[:], self.model.site_pos[:] = positions
            self.owner = owner


_shared = functools.lru_cache(maxsize=8)(_Shared)  # 20 MB each; whoever acts keeps its own alive


@functools.cache
def _body_class(name: str) -> Any:
    """Meta-World's class of a task, made to share its model and to draw where it is told to."""
    require_metaworld()
    import mujoco
    from metaworld.env_dict import ENV_CLS_MAP

    class Body(ENV_CLS_MAP[name]):
        shared: _Shared
        draw: Any = None

        def _initialize_simulation(self) -> tuple[Any, Any]:
            self.shared = _shared(self.fullpath)
            self.shared.put(self.shared.first, None)
            self.shared.owner = self
            return self.shared.model, mujoco.MjData(self.shared.model)

        def reset_model(self) -> Array:
            # A reset of the library's calls this twice: what the first call draws is what the second keeps.
            observation: Array = super().reset_model()
            self.draw = None
            return observation

        def _get_state_rand_vec(self) -> Array:
            if self.draw is not None:
                self._last_rand_vec = self.draw(self._random_reset_space)
            return self._last_rand_vec

    return Body


class MetaWorldEnv:
    """One task. Observation [40]: Meta-World's 39 with the goal visible, and whether the last step met the goal.

    The seed of a reset decides everything that is random: where objects and goal are. With a ``goal`` [3] that part
    of it is fixed, as the last three numbers of Meta-World's random vector. ``rand_vec`` is that vector.
    """

    def __init__(self, name: str, horizon: int, goal: tuple[float, ...] = ()) -> None:
        self._goal, self._horizon, self._t = np.asarray(goal, np.float64), horizon, 0
        self._name = name
        self._env = _body_class(name)(reward_function_version=REWARD)
        self._env._set_task_called = True
        self._env._partially_observable = False
        del self._env.sawyer_observation_space  # cached with the goal hidden
        self._env._set_task_inner()
        self._positions = self._env.shared.first
        self._rng = stream(0, "metaworld", name)

    @property
    def rand_vec(self) -> Array:
        """What the last reset drew, [3] to [9] by task: all that the library calls a task beside its name."""
        return np.array(self._env._last_rand_vec)

    def reset(self, *, seed: int | None = None, rand_vec: Array | None = None) -> tuple[Array, dict[str, Any]]:
        """Begin an episode, drawn by ``seed``, or the one of a stored ``rand_vec``."""
        import mujoco

        if seed is not None:
            self._rng = stream(seed, "metaworld", self._name)
        env = self._env
        env.shared.owner = None
        env.shared.put(env.shared.first, self)
        mujoco.mj_resetData(env.model, env.data)  # of the episode before, the solver's warm start would be left
        env.draw, env._last_rand_vec = (self._draw, None) if rand_vec is None else (None, np.array(rand_vec))
        observation, _ = env.reset()
        self._positions, self._t = env.shared.positions(), 0
        return np.append(observation, 0.0), {"success": False}

    def _draw(self, space: Any) -> Array:
        found = self._rng.uniform(space.low, space.high)
        if self._goal.size:
            found[-self._goal.size :] = self._goal
        return found

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        self._env.shared.put(self._positions, self)
        action = np.clip(np.asarray(action, np.float64), -1.0, 1.0)
        observation, reward, _, _, info = self._env.step(action)
        self._t += 1
        success = bool(info["success"])
        return np.append(observation, success), float(reward), False, self._t >= self._horizon, {"success": success}

    def close(self) -> None:
        """Nothing to give back: the model is shared, and no window is ever opened."""
