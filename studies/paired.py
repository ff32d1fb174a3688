"""Every cell of a study less a baseline of the same tuning, with intervals over tasks and seeds, as Markdown:

    python studies/paired.py docs/results/packed/confirmation-first.jsonl.xz [BASELINE] [SUITE]

Normalised scores; a difference is of two runs of one task and few-shot seed. The bootstrap (4,000 samples, seeded)
draws tasks, then seeds within each; episodes are not drawn again, a run's score is the mean of its own. The tables of
docs/results/confirmation.md are made by it.
"""

import sys
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from trajtune.study.results import Result
from trajtune.study.stored import read_results

SAMPLES = 4000
Place = tuple[int, int]
"""Task and seed."""


def interval(differences: Mapping[Place, float]) -> tuple[float, float]:
    """The 95% percentile interval of the mean over tasks of the mean over seeds."""
    tasks = sorted({task for task, _ in differences})
    values = [np.array([v for (task, _), v in differences.items() if task == t]) for t in tasks]
    rng = np.random.default_rng(0)
    means = []
    for _ in range(SAMPLES):
        picked = rng.integers(len(values), size=len(values))
        means.append(np.mean([values[i][rng.integers(len(values[i]), size=len(values[i]))].mean() for i in picked]))
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def name(result: Result) -> str:
    """A cell in words, without its tuning's baseline."""
    run = result.run
    if run.recipe is None:
        return f"{run.algorithm} ({run.setting.target})"
    return f"{run.algorithm} x {run.tuning}" + (f" ({result.label})" if result.label else "")


def rows(results: list[Result], baseline: str) -> list[str]:
    """One row a cell of one suite and setting."""
    scores: dict[str, dict[Place, float]] = defaultdict(dict)
    trusts: dict[str, list[float]] = defaultdict(list)
    tunings: dict[str, str] = {}
    for result in results:
        cell, place = name(result), (result.run.task, result.run.seed)
        scores[cell][place] = float("nan") if result.normalised is None else result.normalised
        tunings[cell] = result.run.tuning
        if "trust" in result.metrics:
            trusts[cell].append(result.metrics["trust"])
    said = []
    for cell in sorted(scores, key=lambda each: (tunings[each] != "none", tunings[each])):
        own, other = scores[cell], scores.get(f"{baseline} x {tunings[cell]}", {})
        told = [cell, str(len(own)), f"{np.nanmean(list(own.values())):.3f}", "", "", "", ""]
        differences = {place: own[place] - other[place] for place in own if place in other}
        if differences and cell != f"{baseline} x {tunings[cell]}":
            values = np.array(list(differences.values()))
            told[3:6] = "=", "the same bits", f"{(values > 0).sum()} / {(values < 0).sum()}"
            if values.any():
                low, high = interval(differences)
                mark = "**" if low > 0 or high < 0 else ""
                told[3:5] = f"{mark}{values.mean():+.3f}{mark}", f"[{low:+.3f}, {high:+.3f}]"
        told[6] = f"{np.mean(trusts[cell]):.2f}" if trusts[cell] else ""
        said.append("| " + " | ".join(told) + " |")
    return said


def main(place: str, baseline: str = "sft", suite: str | None = None) -> None:
    """Print one table a suite and setting."""
    found: dict[tuple[object, ...], list[Result]] = defaultdict(list)
    for result in read_results(place):
        setting = result.run.setting
        found[result.run.suite, setting.quality, setting.trajectories, setting.reward].append(result)
    for key in sorted(found, key=str):
        if suite in (None, key[0]):
            print(f"\n#### {key[0]}, {key[2]} {key[1]}{'' if key[3] == 'dense' else f', {key[3]}'}\n")
            print(f"| cell | runs | score | minus {baseline} | 95% over tasks and seeds | above / below | trust |")
            print("|---|---:|---:|---:|---|---:|---:|")
            print("\n".join(rows(found[key], baseline)))


if __name__ == "__main__":
    main(*sys.argv[1:])
