"""What an update costs in every cell, in one run, one thread: ``python benchmarks/cells.py [--whole] [--json FILE]``.

Ant-Dir's dimensions, the paper's agent (3, 128, 1), batch 64. Each measurement is some updates of the training loop
itself (drawing, critics, loss, AdamW, snapshots); what finetuning sets up before its first update is left out. All
cells are measured in alternation, the median counts, and each is a ratio to sft x full of the same run. Beside it
stands the same ratio of the FLOPs in matrix products, counted: no implementation at the same share of peak beats it.

``--whole`` measures a whole finetuning run instead, set-up included, with its evaluation before and after.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speed import seconds
from torch.utils.flop_counter import FlopCounterMode

from trajtune.agents.saving import SavedAgent, initialise
from trajtune.algorithms import ALGORITHMS
from trajtune.algorithms.base import Shape, make_algorithm
from trajtune.data.episodes import from_episodes
from trajtune.data.fewshot import FewShot
from trajtune.study.cell import Evaluation
from trajtune.study.run_cell import run_cell
from trajtune.suites import get_suite
from trajtune.training.config import Recipe, TrainConfig
from trajtune.training.deltas import policy_for
from trajtune.training.loop import train
from trajtune.tunings import TUNINGS

BATCH, STEPS, TRAJECTORIES = 64, 200, 10
BASE = "sft x full"
GOAL, WHOLE_GOAL = 1.7, 1.25
DIMENSIONS = {"ant-dir": (27, 8), "cheetah-vel": (20, 6)}


def made(suite: str) -> tuple[SavedAgent, FewShot]:
    """Return an untrained agent and episodes of noise: what is in them does not change what an update costs."""
    (s, a), rng = DIMENSIONS[suite], np.random.default_rng(0)
    episodes = [
        {"observations": rng.normal(size=(STEPS, s)), "actions": rng.uniform(-1, 1, (STEPS, a))}
        | {"rewards": rng.normal(size=STEPS)}
        for _ in range(TRAJECTORIES)
    ]
    agent = initialise("prompt-dt", {"observation_dim": s, "action_dim": a, "max_timesteps": STEPS}, 0)
    return SavedAgent.of(agent, suite), FewShot.of(from_episodes(episodes), suite, 0, agent.spec.prompt)


def updates_of(base: SavedAgent, few: FewShot, algorithm: str, tuning: str, updates: int) -> Callable[[], object]:
    """Set a cell up, and return a function that does so many updates of it."""
    spec, recipe = base.agent.spec, Recipe(algorithm, tuning, training=TrainConfig(steps=updates, batch=BATCH))
    recipe = recipe.resolved()
    algo, policy = make_algorithm(algorithm, recipe.options), policy_for(base.agent, few.brief, recipe)
    algo.setup(policy, few.trajectories, 0)
    shape = Shape(BATCH, spec.window, spec.prompt, spec.max_timesteps)
    return lambda: train(policy, algo, lambda rng: algo.draw(few.trajectories, rng, shape), recipe.training)


def flops(function: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def measure_cells(updates: int, rounds: int) -> dict[str, dict[str, float]]:
    base, few = made("ant-dir")
    names = {f"{a} x {t}": (a, t) for a in ALGORITHMS for t in TUNINGS}
    work = {name: flops(updates_of(base, few, *cell, updates=1)) for name, cell in names.items()}
    times = seconds({name: updates_of(base, few, *cell, updates) for name, cell in names.items()}, rounds)
    return {
        name: {
            "seconds_per_100": times[name] * 100 / updates,
            "ratio": times[name] / times[BASE],
            "flop_ratio": work[name] / work[BASE],
        }
        for name in names
    }


def show_cells(result: dict[str, dict[str, float]]) -> None:
    print(f"100 updates of {BATCH} windows, one thread; goal: at most {GOAL} x {BASE}")
    print(f"{'':24} {'seconds':>8} {'ratio':>6} {'goal':>5} {'of FLOPs':>9}")
    for name, cell in result.items():
        mark = "" if cell["ratio"] <= GOAL else "  over"
        print(f"{name:24} {cell['seconds_per_100']:8.2f} {cell['ratio']:6.2f} {GOAL:5} {cell['flop_ratio']:9.2f}{mark}")


def run(suite: str, algorithm: str, updates: int, episodes: int) -> dict[str, float]:
    """Return the seconds of a whole run, by part: zero-shot scored, finetuned, scored."""
    base, few = made(suite)
    recipe = Recipe(algorithm, "full", training=TrainConfig(steps=updates, batch=BATCH))
    evaluation = Evaluation(episodes, points=0, curve_episodes=1)
    before, after = (run_cell(base, few, get_suite(suite), each, evaluation) for each in (None, recipe))
    parts = {"finetuning": after.finetune_seconds, "evaluation": before.evaluate_seconds + after.evaluate_seconds}
    return {**parts, "whole": sum(parts.values())}


def measure_whole(updates: int, episodes: int, rounds: int) -> dict[str, Any]:
    result: dict[str, Any] = {"updates": updates, "batch": BATCH, "episodes": episodes, "suites": {}}
    for suite in DIMENSIONS:
        runs: dict[str, list[dict[str, float]]] = {"sft": [], "qp-sft": []}
        for _ in range(rounds):
            for algorithm, found in runs.items():
                found.append(run(suite, algorithm, updates, episodes))
        times = {a: {part: statistics.median(r[part] for r in found) for part in found[0]} for a, found in runs.items()}
        result["suites"][suite] = {"seconds": times, "ratio": times["qp-sft"]["whole"] / times["sft"]["whole"]}
    return result


def show_whole(result: dict[str, Any]) -> None:
    print(f"{result['updates']} updates of {BATCH} windows, full; {result['episodes']} episodes before, as many after")
    print(f"{'':24} {'finetuning':>10} {'evaluation':>10} {'whole, s':>10}")
    for suite, entry in result["suites"].items():
        for algorithm, parts in entry["seconds"].items():
            print(f"{suite:12} {algorithm:11} " + " ".join(f"{value:10.1f}" for value in parts.values()))
        print(f"{suite:12} {'ratio':11} {entry['ratio']:32.2f}  (goal {WHOLE_GOAL})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    parser.add_argument("--whole", action="store_true", help="whole finetuning runs with their evaluation instead")
    parser.add_argument("--updates", type=int, help="a measurement; snapshots come every 10 (default 10; whole: 300)")
    parser.add_argument("--episodes", type=int, default=50, help="an evaluation, with --whole")
    parser.add_argument("--rounds", type=int, help="default 5; whole: 3")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.whole:
        result = measure_whole(arguments.updates or 300, arguments.episodes, arguments.rounds or 3)
        show_whole(result)
    else:
        result = measure_cells(arguments.updates or 10, arguments.rounds or 5)
        show_cells(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
