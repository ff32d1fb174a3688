"""The paper's own composition: what SAC did as it learned a task. All of it is expert data, its first half medium.

Of the episodes that were asked for, each stands at its own place of the training, evenly from the first to the last.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from trajtune import artifacts
from trajtune.errors import UserError
from trajtune.experts.bodies import ACHIEVED, SUCCESS, episode_stream
from trajtune.experts.recording import CHUNK, Episode
from trajtune.experts.sac import steps_of_a_round
from trajtune.files import read_arrays
from trajtune.suites.base import Array, Suite

SHARES = {"expert": 1.0, "medium": 0.5}
"""The part of the training, from its start, that a quality is taken from (paper, appendix B)."""


def replayed(folder: Path, suite: Suite, task: int, quality: str, trajectories: int) -> Iterator[list[Episode]]:
    """Yield episodes of the expert in ``folder`` in the order in which they began, not more than ``CHUNK`` at once.

    Only whole ones: those that a round cut off before their end are left out. Fewer than were asked for are a
    ``UserError``.
    """
    count = sum(1 for _ in _episodes(folder, suite, task))
    within = int(count * SHARES[quality])
    if within < trajectories:
        raise UserError(
            f"{folder}: SAC lived through {within} episodes in the part of its training that is {quality}, "
            f"{trajectories} were asked for: train longer (updates)"
        )
    wanted = {int(place) for place in np.linspace(0, within - 1, trajectories).round()}
    chunk: list[Episode] = []
    for number, episode in enumerate(_episodes(folder, suite, task)):
        if number in wanted:
            chunk.append(episode)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _episodes(folder: Path, suite: Suite, task: int) -> Iterator[Episode]:
    """Yield every whole episode: round by round, within a round by when it began, then by its body."""
    header = artifacts.read_header(folder, artifacts.EXPERT, verify=False)
    horizon, seed, number = suite.horizon(task), header["run"]["seed"], 0
    steps = steps_of_a_round(horizon)
    for name in header["replay"]:
        columns = read_arrays(folder / name, "replay")
        for first in range(0, len(columns["rewards"]), steps):
            found: list[tuple[int, int, Episode]] = []
            for body in range(columns["rewards"].shape[1]):
                ends = [first - 1, *(first + np.flatnonzero(columns["dones"][first : first + steps, body])).tolist()]
                if ends[-1] < first + steps - 1:
                    ends.append(first + steps - 1)  # the round ended, not the episode, unless it had had its time
                for episode, (before, end) in enumerate(itertools.pairwise(ends)):
                    rows = slice(before + 1, min(end, before + horizon) + 1)
                    lived = {name: column[rows, body] for name, column in columns.items()}
                    if lived["dones"][-1] or len(lived["dones"]) == horizon:
                        reset = int(episode_stream(seed, number, body, episode).integers(2**31))
                        found.append((rows.start, body, _episode(lived, suite, task, reset)))
            yield from (episode for *_, episode in sorted(found, key=lambda each: each[:2]))
            number += 1


def _episode(rows: dict[str, Array], suite: Suite, task: int, seed: int) -> Episode:
    """The goal behind an observation is not the environment's: what it says itself comes before."""
    raw = rows["observations"].shape[1] - len(suite.task(task).goal)
    return Episode(
        observations=np.stack([suite.view(each) for each in rows["observations"][:, :raw]]),
        actions=rows["actions"],
        rewards=rows["rewards"],
        achieved=rows.get(ACHIEVED),
        final_observation=suite.view(rows["next_observations"][-1, :raw]),
        terminated=bool(rows["dones"][-1] and not rows["timeouts"][-1]),
        success=bool(rows[SUCCESS].any()) if SUCCESS in rows else None,
        seed=seed,
    )
