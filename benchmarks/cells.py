"""What an update costs under each tuning, in one run, one thread: ``python benchmarks/tunings.py [--json FILE]``.

Ant-Dir's dimensions, the paper's agent (3, 128, 1), batch 64. Each measurement is some updates of the finetuning loop
itself (drawing, loss, AdamW); all tunings are measured in alternation and the median counts, scaled to 100 updates.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from speed import seconds

from trajtune.agents import AgentConfig, SavedAgent, initialise
from trajtune.agents.saving import digest
from trajtune.data.trajectories import from_episodes
from trajtune.training import FewShot, TrainConfig, finetune
from trajtune.tunings import TUNINGS

S, A, STEPS = 27, 8, 200


def few_shot() -> FewShot:
    """Ten episodes of noise: what is in them does not change what an update costs."""
    rng = np.random.default_rng(0)
    episodes = [
        {"observations": rng.normal(size=(STEPS, S)), "actions": rng.uniform(-1, 1, (STEPS, A))}
        | {"rewards": rng.normal(size=STEPS)}
        for _ in range(10)
    ]
    return FewShot.of(from_episodes(episodes), "ant-dir", 0, prompt_length=5)


def measure(algorithm: str, updates: int, rounds: int) -> dict[str, float]:
    """Return the seconds of 100 updates of an algorithm under each tuning."""
    agent, data = initialise(AgentConfig(S, A), 0), few_shot()
    base = SavedAgent(agent, {}, digest(agent))
    config = TrainConfig(steps=updates, batch=64)

    def run(tuning: str) -> Callable[[], object]:
        return lambda: finetune(base, data, algorithm, tuning, config)

    return {name: t * 100 / updates for name, t in seconds({name: run(name) for name in TUNINGS}, rounds).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    parser.add_argument("--algorithms", default="sft,qp-sft")
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = {name: measure(name, arguments.updates, arguments.rounds) for name in arguments.algorithms.split(",")}
    for algorithm, times in result.items():
        print(f"\n{algorithm}: seconds per 100 updates at batch 64, and relative to full")
        for tuning, value in times.items():
            print(f"  {tuning:12} {value:8.2f} {value / times['full']:8.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
