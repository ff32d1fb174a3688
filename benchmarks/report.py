"""How long a report of so many results takes, and how much memory: python benchmarks/report.py [--results 100000]

The results are made up (four suites and settings, nine algorithms, four tunings, five tasks, seeds as it takes) and
written as a study's folder in a temporary place; then ``trajtune report --out`` runs in a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from trajtune.artifacts import STUDY, finish, signature
from trajtune.data.setting import Setting
from trajtune.study.cell import Cell, Evaluation, Run
from trajtune.study.results import FORMAT, VERSION, Machine, Point, Result
from trajtune.training.config import Recipe, TrainConfig

SUITES = ("cheetah-dir", "cheetah-vel", "ant-dir", "metaworld-ml45")
SETTINGS = (Setting("expert", 50), Setting("medium", 50), Setting("expert", 5), Setting("expert", 50, "sparse"))
TUNINGS = ("prompt", "adapter", "decorator", "full")
ALGORITHMS = ("sft", "dpo", "grpo", "ppo", "cql", "qp-sft", "qp-dpo", "iql", "awr")
MACHINE = Machine("made up", 1, {"python": "3"})


def made(suite: str, setting: Setting, cell: Cell, task: int, rng: np.random.Generator) -> Result:
    """One result of twenty episodes and a curve of five points."""
    returns = tuple((100.0 * rng.normal(0.5, 0.1, 20)).tolist())
    curve = tuple(Point(75 * i, returns[:10], returns[0], returns[0] / 100.0, None, {"loss": 0.5}) for i in range(5))
    run = Run(suite, task, setting, cell.seed, cell.recipe, "agent", "data", Evaluation(20, precision="fp32"))
    mean = float(np.mean(returns))
    return Result(
        run, "", f"task {task}", "return", returns, None, (200,) * 20, mean, mean / 100.0,
        references={"random": 0.0, "expert": 100.0}, curve=curve if cell.recipe else (), machine=MACHINE,
        finetune_seconds=10.0, evaluate_seconds=1.0,
    )  # fmt: skip


def write(folder: Path, count: int) -> int:
    """Write at least so many results, and return how many."""
    recipes = [Recipe(a, t, training=TrainConfig(seed=0)).resolved() for a in ALGORITHMS for t in TUNINGS]
    seeds = -(-count // (len(SUITES) * len(SETTINGS) * (len(recipes) + 1) * 5))
    rng, written = np.random.default_rng(0), 0
    for suite in SUITES:
        for setting in SETTINGS:
            for recipe in (None, *recipes):
                for seed in range(seeds):
                    cell = Cell(suite, setting, seed, recipe)
                    for task in range(5):
                        place = folder / cell.place(task)
                        place.parent.mkdir(parents=True, exist_ok=True)
                        result = made(suite, setting, cell, task, rng)
                        value: dict[str, Any] = {"format": FORMAT, "version": VERSION, **asdict(result)}
                        place.write_text(json.dumps({**value, "digest": signature(value)}))
                        written += 1
    methods = [{"algorithms": list(ALGORITHMS), "tunings": list(TUNINGS), "label": ""}]
    finish(folder, STUDY, {"study": {"suites": dict.fromkeys(SUITES), "methods": methods}})
    return written


def main() -> None:
    """Make them, report them, say what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=int, default=100_000)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        count = write(Path(place, "study"), given.results)
        command = [sys.executable, "-m", "trajtune", "report", f"{place}/study", "--out", f"{place}/out", "--json"]
        began = time.perf_counter()
        done = subprocess.run([*command, "--only", given.only], stdout=subprocess.DEVNULL, check=False)
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        told = {"results": count, "exit": done.returncode, "seconds": round(seconds, 1), "peak_gib": round(peak, 2)}
        print(json.dumps(told))


if __name__ == "__main__":
    main()
