"""Measure what Meta-World's scripts and random actions earn: ``python -m trajtune.experts.metaworld_references SUITE``.

For every task whether its script should rest after success, and the reference returns and success rates, into
``metaworld_references.json`` beside the suites. Run it anew for another version of Meta-World.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from trajtune.experts.actors import random_actor
from trajtune.experts.recording import mean_return, record, record_seeds
from trajtune.suites import get_suite
from trajtune.suites.base import Acting, Suite
from trajtune.suites.metaworld_experts import MetaWorldScripts

EPISODES = 20
TABLE = Path(__file__).parents[1] / "suites" / "metaworld_references.json"


def measure(suite: Suite, task: int, episodes: int = EPISODES, seed: int = 0) -> dict[str, Any]:
    """Return the references of one task, and under ``holds`` whether its script earns more if it rests."""
    seeds = record_seeds(seed, task, "reference", episodes)
    given = suite.experts["scripted"]
    assert isinstance(given, MetaWorldScripts)
    ways = {holds: replace(given, holding=frozenset([task] if holds else [])) for holds in (False, True)}
    top = given.ladders(suite, [task], Path(), 0, seed, lambda *step: None)[task][-1]

    def result(acting: Acting, sampled: bool) -> tuple[float, float]:
        found = record(suite, task, acting, seeds, sampled)
        return mean_return(found), float(np.mean([episode.success for episode in found]))

    tried = {holds: result(way.acting(suite, task, top), False) for holds, way in ways.items()}
    holds = tried[True][0] > tried[False][0] and tried[True][1] >= tried[False][1]
    random = result(random_actor, True)
    return {
        "random": round(random[0], 2),
        "expert": round(tried[holds][0], 2),
        "random_success": round(random[1], 3),
        "expert_success": round(tried[holds][1], 3),
        "holds": holds,
        "other": [round(x, 3) for x in tried[not holds]],
    }


def main() -> None:
    """Measure every task of a suite and put the table in its place; tasks that are in it already are left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite")
    parser.add_argument("--episodes", type=int, default=EPISODES)
    given = parser.parse_args()
    suite = get_suite(given.suite)
    for task in suite.tasks:
        table = json.loads(TABLE.read_text()) if TABLE.exists() else {}
        mine = table.setdefault(suite.name, {})
        if str(task.index) not in mine:
            mine[str(task.index)] = measure(suite, task.index, given.episodes)
            TABLE.write_text(_text(table))
        print(task.index, task.name, mine[str(task.index)], flush=True)


def _text(table: dict[str, dict[str, Any]]) -> str:
    """Return JSON with a task a line."""
    suites = []
    for suite, tasks in table.items():
        lines = [f'  "{task}": {json.dumps(tasks[task])}' for task in sorted(tasks, key=int)]
        suites.append(f' "{suite}": {{\n' + ",\n".join(lines) + "\n }")
    return "{\n" + ",\n".join(suites) + "\n}\n"


if __name__ == "__main__":
    main()
