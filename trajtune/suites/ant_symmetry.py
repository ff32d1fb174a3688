"""The ant's symmetries: the ground is alike in all directions, and the four legs are alike.

An observation [27] is height, quaternion (4), joints (8: hip and ankle of legs 1 to 4), velocity in the world (3),
angular velocity in the torso (3), joint velocities (8). Actuators stand in the order of legs 4, 1, 2, 3.
"""

import numpy as np

from trajtune.suites.base import Array, Symmetry

ORIENTATION, JOINTS, VELOCITY, SPIN, JOINT_VELOCITIES = (
    slice(1, 5),
    slice(5, 13),
    slice(13, 15),
    slice(16, 18),
    slice(19, 27),
)
# Seen from a torso turned a quarter to the left, leg 2 stands where leg 1 stood, and so on. The axes of the ankles of
# legs 1 and 3 then point the other way (ant.xml).
NEXT_LEG = np.array([2, 3, 4, 5, 6, 7, 0, 1])
JOINT_SIGNS = np.array([1, -1, 1, 1, 1, -1, 1, 1], np.float32)
ACTION_SIGNS = np.roll(JOINT_SIGNS, 2)


def _turned(vectors: Array, cos: Array, sin: Array) -> Array:
    x, y = vectors[..., 0], vectors[..., 1]
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)


def seen(observations: Array, goals: Array) -> Array:
    """Turn the world until the goal is ahead: [n, 27] and unit vectors [n, 2] -> [n, 29].

    In place of the quaternion, which two values have for one orientation (q and -q), stand cosine and sine of the
    torso's turn about the vertical (twist of the swing-twist decomposition), and how far its x and y axes point up.
    """
    w, x, y, z = np.moveaxis(observations[..., ORIENTATION], -1, 0)
    heading = np.stack([w * w - z * z, 2 * w * z], axis=-1) / np.maximum(w * w + z * z, 1e-9)[..., None]
    up = np.stack([2 * (x * z - w * y), 2 * (y * z + w * x)], axis=-1)
    cos, sin = goals[..., 0], -goals[..., 1]
    found = np.concatenate([observations, _turned(goals, cos, sin)], axis=-1)
    found[..., ORIENTATION] = np.concatenate([_turned(heading, cos, sin), up], axis=-1)
    found[..., VELOCITY] = _turned(observations[..., VELOCITY], cos, sin)
    return found


def quarter_turned(state: Array, actions: Array) -> tuple[Array, Array]:
    """Let the torso's front be its left side: seen [n, 29] and actions [n, 8] with the legs numbered anew."""
    found = state.copy()
    x, y = state[..., 1], state[..., 2]
    found[..., 1], found[..., 2] = -y, x
    for pair in (slice(3, 5), SPIN):
        found[..., pair] = np.stack([state[..., pair][..., 1], -state[..., pair][..., 0]], axis=-1)
    for joints in (JOINTS, JOINT_VELOCITIES):
        found[..., joints] = state[..., joints][..., NEXT_LEG] * JOINT_SIGNS
    return found, actions[..., NEXT_LEG] * ACTION_SIGNS


def copies(rng: np.random.Generator, before: Array, after: Array, actions: Array) -> tuple[Array, Array, Array]:
    """Turn the numbers of the legs of each row by no, one, two or three quarters."""
    quarters = rng.integers(4, size=len(actions))
    for least in (1, 2, 3):
        rows = quarters >= least
        before[rows], turned = quarter_turned(before[rows], actions[rows])
        after[rows], actions[rows] = quarter_turned(after[rows], actions[rows])[0], turned
    return before, after, actions


SYMMETRY = Symmetry(seen, copies)
