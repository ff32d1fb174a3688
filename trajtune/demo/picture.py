"""The demo in one picture."""

from pathlib import Path
from typing import Any

import numpy as np

from trajtune.demo.config import ALGORITHMS, NAMES
from trajtune.files import write_atomically

PICTURE = "demo.png"
COLOURS = dict(zip(NAMES, ("#b8b8b8", "#707070", "#1f77b4", "#d95f02"), strict=True))
WIDTHS = dict(zip(NAMES, (1.0, 1.0, 3.5, 1.0), strict=True))  # sft shows even where the other has its bits


def draw(result: dict[str, Any], path: Path) -> None:
    """Left: return while finetuning, mean over tasks. Right: achieved velocity against its target, over time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tasks, config = result["tasks"], result["run"]["config"]
    figure = Figure(figsize=(4 + 2.4 * len(tasks), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 1 + len(tasks), width_ratios=[1.6] + [1.0] * len(tasks))
    left, right = axes[0], axes[1:]
    for algorithm in ALGORITHMS:
        curves = [task["scores"][algorithm]["curve"] for task in tasks]
        means = np.mean([[point["mean_return"] for point in curve] for curve in curves], axis=0)
        steps = [point["step"] for point in curves[0]]
        left.plot(steps, means, marker="o", ms=3, color=COLOURS[algorithm], lw=WIDTHS[algorithm], label=algorithm)
    for name, style in (("expert", "--"), ("random", ":")):
        left.axhline(np.mean([t["references"][name] for t in tasks]), ls=style, lw=1, color="black", label=name)
    title = f"{config['trajectories']} {config['quality']} trajectories"
    left.set(xlabel="updates", ylabel="return, mean over tasks", title=title)
    left.legend(fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1.0, 0.08))
    for axis, task in zip(right, tasks, strict=True):
        axis.axhline(task["target"], color="black", lw=1, ls="--")
        for name, colour in COLOURS.items():
            axis.plot(np.ravel(task["scores"][name]["achieved"]), color=colour, lw=WIDTHS[name], label=name)
        axis.set(title=f"task {task['task']}: {task['name']}", xlabel="step", ylim=(-1.0, 4.0))
    right[0].set_ylabel("velocity, m/s")
    right[0].legend(fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda p: figure.savefig(p, dpi=130, format="png"))
