"""Trajectories from one's own recordings: plain arrays, an episode at a time."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from trajtune.data.trajectories import Array, Trajectories, returns_to_go
from trajtune.errors import UserError, unknown

Episode = Mapping[str, Any]

DIMS = {"observations": 2, "actions": 2, "rewards": 1, "achieved": 2}
NEEDED = ("observations", "actions", "rewards")
TERMINATED = ("terminated", "terminations")  # Gymnasium's word, and Minari's
TRUNCATED = ("truncated", "truncations")
KNOWN = (*DIMS, *TERMINATED, *TRUNCATED)
SLACK = 1e-5
"""What rounding may add to an action at the edge of its box."""

Bound = float | npt.ArrayLike


def from_episodes(
    episodes: Iterable[Episode], task: int = 0, action_scale: tuple[Bound, Bound] | None = None
) -> Trajectories:
    """Build trajectories from one mapping an episode: ``observations``, ``actions`` [T, A], ``rewards`` [T].

    ``observations`` is [T, S], or [T + 1, S] with the state that followed the last step: in every episode or in none.
    ``terminated`` or ``terminations`` says that the environment ended the episode, ``truncated`` or ``truncations``
    that a time limit did: one value, or [T] of which the last counts. ``achieved`` [T, D] is kept for relabelling.

    An agent acts in [-1, 1]. ``action_scale`` is the environment's own (low, high), numbers or [A] each, from which
    actions are then rescaled. What does not fit is a ``UserError`` that names the episode.
    """
    if isinstance(episodes, Mapping):
        raise UserError("this is one episode: give a list of them")
    found = [_checked(i, episode) for i, episode in enumerate(episodes)]
    if not found:
        raise UserError("there are no trajectories: record at least one")
    _check_alike(found)
    length = np.array([len(e["rewards"]) for e in found], np.int64)
    ends = len(found[0]["observations"]) > length[0]
    together = {name: np.concatenate([e[name] for e in found]) for name in ("actions", "rewards")}
    return Trajectories(
        observations=np.concatenate([e["observations"][:n] for e, n in zip(found, length, strict=True)]),
        actions=_in_box(together["actions"], action_scale),
        rewards=together["rewards"],
        returns_to_go=np.concatenate([returns_to_go(e["rewards"]) for e in found]),
        start=np.concatenate([[0], np.cumsum(length)[:-1]]).astype(np.int64),
        length=length,
        task=np.full(len(found), task, np.int64),
        terminated=np.array([e["terminated"] for e in found]),
        final_observations=np.stack([e["observations"][-1] for e in found]) if ends else None,
        achieved=np.concatenate([e["achieved"] for e in found]) if "achieved" in found[0] else None,
    ).loaded()


def _checked(number: int, episode: Episode) -> dict[str, Any]:
    """Return the arrays of one episode as float32, and whether the environment ended it."""
    if not isinstance(episode, Mapping):
        raise UserError(f"trajectory {number} is not a mapping of names to arrays")
    for name in episode:
        if name not in KNOWN:
            raise unknown(f"name in trajectory {number}", name, KNOWN)
    if missing := [name for name in NEEDED if name not in episode]:
        raise UserError(f"trajectory {number} has no {' and no '.join(missing)}")
    found: dict[str, Any] = {}
    for name in (name for name in DIMS if name in episode):
        found[name] = _numbers(number, name, episode[name])
        if found[name].ndim != DIMS[name] or 0 in found[name].shape[1:]:
            wanted = "[T]" if DIMS[name] == 1 else "[T, size]"
            raise UserError(f"trajectory {number}: {name} has shape {found[name].shape}, expected {wanted}")
        if not np.isfinite(found[name]).all():
            raise UserError(f"the data has a non-finite number in {name} of trajectory {number}")
    steps = len(found["rewards"])
    lengths = {name: len(array) for name, array in found.items()}
    if lengths["observations"] == steps + 1:
        lengths["observations"] = steps
    if steps == 0 or set(lengths.values()) != {steps}:
        told = ", ".join(f"{len(array)} {name}" for name, array in found.items())
        raise UserError(
            f"trajectory {number} needs as many observations (or one more) as actions and rewards, got {told}"
        )
    found["terminated"] = _ended(number, episode, TERMINATED, steps)
    _ended(number, episode, TRUNCATED, steps)
    return found


def _numbers(number: int, name: str, value: Any) -> Array:
    try:
        with np.errstate(over="ignore"):  # found when it is checked to be finite
            return np.asarray(value, np.float32)
    except (TypeError, ValueError):
        raise UserError(f"trajectory {number}: {name} is not an array of numbers") from None


def _ended(number: int, episode: Episode, names: tuple[str, ...], steps: int) -> bool:
    """Read a flag that is told once or at every step, under one of two names."""
    given = [name for name in names if name in episode]
    if not given:
        return False
    if len(given) > 1:
        raise UserError(f"trajectory {number} has both {' and '.join(given)}: name one of them")
    flags = _numbers(number, given[0], episode[given[0]])
    if flags.shape not in ((), (steps,)):
        raise UserError(f"trajectory {number}: {given[0]} has shape {flags.shape}, expected one value or [{steps}]")
    if not np.isin(flags, (0.0, 1.0)).all():
        raise UserError(f"trajectory {number}: {given[0]} has a value that is neither true nor false")
    early = np.flatnonzero(np.atleast_1d(flags)[:-1])
    if len(early):
        raise UserError(
            f"trajectory {number} is {given[0]} at step {early[0]} of {steps}: an episode ends there, split it"
        )
    return bool(np.atleast_1d(flags)[-1])


def _check_alike(found: list[dict[str, Any]]) -> None:
    """All episodes have the same sizes, and what is optional is in all of them or in none."""
    first = found[0]
    ends = [len(e["observations"]) > len(e["rewards"]) for e in found]
    for i, episode in enumerate(found):
        for name in (name for name in DIMS if name in episode and name in first):
            size, shape = first[name].shape[1:], episode[name].shape
            if shape[1:] != size:
                wanted = f"[T, {size[0]}] as in trajectory 0"
                raise UserError(f"trajectory {i}: {name} has shape {shape}, expected {wanted}")
        if ends[i] != ends[0]:
            raise UserError(
                f"trajectory {i} {'has' if ends[i] else 'lacks'} the state after its last step, unlike trajectory 0: "
                "give one more observation than actions everywhere or nowhere"
            )
        if ("achieved" in episode) != ("achieved" in first):
            raise UserError(f"achieved is in trajectory {i} or in trajectory 0, not in both: give it everywhere")


def _in_box(actions: Array, scale: tuple[Bound, Bound] | None) -> Array:
    """Return actions [M, A] in [-1, 1]; an agent's mean is a tanh and can never reach beyond."""
    found = f"actions go from {actions.min():.6g} to {actions.max():.6g}"
    if scale is None:
        wrong = f"{found}, beyond the [-1, 1] of an agent: name the environment's own box, action_scale=(low, high)"
    else:
        low, high = _bounds(scale, actions.shape[1])
        actions = (2.0 * (actions.astype(np.float64) - low) / (high - low) - 1.0).astype(np.float32)
        wrong = f"{found}, beyond action_scale={_told(scale)}: name the box that they were taken from"
    if not (np.abs(actions) <= 1.0 + SLACK).all():
        raise UserError(wrong)
    return np.clip(actions, -1.0, 1.0)


def _bounds(scale: tuple[Bound, Bound], size: int) -> tuple[Array, Array]:
    try:
        low, high = (np.broadcast_to(np.asarray(bound, np.float64), size) for bound in scale)
    except (TypeError, ValueError):
        told = _told(scale)
        raise UserError(f"action_scale must be (low, high), each a number or {size} of them, got {told}") from None
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
        raise UserError(f"action_scale must be (low, high) with low below high, got {_told(scale)}")
    return low, high


def _told(value: Any) -> str:
    return " ".join(repr(value).split())[:100]  # an array's has several lines
