"""The demo: a pretrained agent meets held-out tasks. Everything it shows is computed while it runs."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from trajtune.errors import UserError
from trajtune.files import write_atomically, write_json
from trajtune.processes import worker_pool

SUITE = "cheetah-vel"
ALGORITHMS = ("sft", "qp-sft")
ZERO_SHOT = "zero-shot"


@dataclass(frozen=True)
class DemoConfig:
    """What the demo does. The defaults fit two minutes on two cores."""

    tasks: tuple[int, ...]
    quality: str = "expert"
    trajectories: int = 50
    tuning: str = "full"
    steps: int = 120
    batch: int = 32
    episodes: int = 20
    curve_points: int = 3
    """Points of the learning curve after the first; the last is the final score's."""
    curve_episodes: int = 5
    learning_rate: float = 3e-4
    """What the agent was pretrained with: larger than full tuning's default, for so few updates."""
    seed: int = 0


def asset(name: str) -> Path:
    """Return the folder of something that ships with the package."""
    path = Path(str(files("trajtune").joinpath("assets", name)))
    if not path.exists():
        raise UserError(f"the asset {name} is missing from this installation")
    return path


def run_demo(
    config: DemoConfig, workers: int, progress: Callable[[str, int, int], None] = lambda *a: None
) -> dict[str, Any]:
    """Evaluate zero-shot, finetune with every algorithm, evaluate again; tasks run beside each other."""
    jobs = [(config, task) for task in config.tasks]
    results = []
    stage = f"finetuning and evaluating {len(jobs)} tasks"
    progress(stage, 0, len(jobs))
    with worker_pool(min(workers, len(jobs))) as run:
        for done, result in enumerate(run(_one_task, jobs), 1):
            results.append(result)
            progress(stage, done, len(jobs))
    return {"suite": SUITE, "config": asdict(config), "tasks": results, "summary": _summary(results)}


def _one_task(job: tuple[DemoConfig, int]) -> dict[str, Any]:
    """Zero-shot and every algorithm on one task, all over the same episode seeds and prompts."""
    import torch

    from trajtune.agents import load_agent
    from trajtune.data import Dataset
    from trajtune.policy import Plain, Policy
    from trajtune.rollout import evaluate_plain
    from trajtune.suites import get_suite
    from trajtune.training import TrainConfig, few_shot, finetune

    config, task = job
    torch.set_num_threads(1)
    base, suite = load_agent(asset(f"{SUITE}/agent")), get_suite(SUITE)
    dataset = Dataset.open(asset(f"{SUITE}/data"))
    data = few_shot(dataset, task, config.quality, config.trajectories, config.seed, base.agent.config.prompt)

    def score(plain: Plain, episodes: int) -> dict[str, Any]:
        return evaluate_plain(plain, suite, {task: data.prompts}, episodes, config.seed)[0].to_json()

    zero = score(Plain(base.agent), config.episodes)
    scores, curves = {ZERO_SHOT: zero}, {}
    every = max(1, config.steps // config.curve_points)
    for algorithm in ALGORITHMS:
        curve = [(0, float(np.mean(zero["returns"][: config.curve_episodes])))]

        def on_step(step: int, policy: Policy, metrics: dict[str, float], curve: list[Any] = curve) -> None:
            if step % every == 0 and step < config.steps:
                curve.append((step, score(policy.plain(), config.curve_episodes)["mean_return"]))

        training = TrainConfig(
            steps=config.steps, batch=config.batch, learning_rate=config.learning_rate, seed=config.seed
        )
        done = finetune(base, data, algorithm, config.tuning, training, on_step=on_step)
        scores[algorithm], curves[algorithm] = score(done.plain(), config.episodes), curve
        curve.append((config.steps, float(np.mean(scores[algorithm]["returns"][: config.curve_episodes]))))
    about = {
        "target": suite.task(task).parameters["velocity"],
        "few_shot_return": float(data.trajectories.returns.mean()),
    }
    return {"task": task, "name": suite.task(task).name, **about, "references": data.prompts.references} | {
        "scores": scores,
        "curves": curves,
    }


def _summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over tasks, and intervals of the paired normalised differences, resampled within each task."""
    from trajtune.statistics import normalised, stratified_interval

    def scores(name: str) -> Any:
        """[tasks, episodes]"""
        return np.array([[normalised(v, r["references"]) for v in r["scores"][name]["returns"]] for r in results])

    names = (ZERO_SHOT, *ALGORITHMS)
    every = {name: scores(name) for name in names}
    pairs = [("sft", ZERO_SHOT), ("qp-sft", ZERO_SHOT), ("qp-sft", "sft")]
    return {
        "mean_return": {n: float(np.mean([r["scores"][n]["mean_return"] for r in results])) for n in names},
        "normalised": {n: float(np.mean(every[n])) for n in names},
        "differences": {
            f"{a} - {b}": {
                "mean": float(np.mean(every[a] - every[b])),
                "interval": stratified_interval(every[a] - every[b]),
            }
            for a, b in pairs
        },
    }


def save(result: dict[str, Any], folder: Path) -> Path:
    """Write ``demo.json`` and the picture ``demo.png``; return the picture's path."""
    write_json(folder / "demo.json", result)
    picture = folder / "demo.png"
    _draw(result, picture)
    return picture


def _draw(result: dict[str, Any], path: Path) -> None:
    """Left: return while finetuning, mean over tasks. Right: achieved velocity against its target, over time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    colours = {ZERO_SHOT: "#8a8a8a", "sft": "#1f77b4", "qp-sft": "#d95f02"}
    tasks = result["tasks"]
    figure = Figure(figsize=(4 + 2.4 * len(tasks), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 1 + len(tasks), width_ratios=[1.6] + [1.0] * len(tasks))
    left, right = axes[0], axes[1:]
    for algorithm in ALGORITHMS:
        steps = [step for step, _ in tasks[0]["curves"][algorithm]]
        means = np.mean([[value for _, value in t["curves"][algorithm]] for t in tasks], axis=0)
        left.plot(steps, means, marker="o", ms=3, color=colours[algorithm], label=algorithm)
    for name, style in (("expert", "--"), ("random", ":")):
        left.axhline(np.mean([t["references"][name] for t in tasks]), ls=style, lw=1, color="black", label=name)
    config = result["config"]
    left.set(
        xlabel="updates",
        ylabel="return, mean over tasks",
        title=f"{config['trajectories']} {config['quality']} trajectories",
    )
    left.legend(fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1.0, 0.08))
    for axis, task in zip(right, tasks, strict=True):
        axis.axhline(task["target"], color="black", lw=1, ls="--")
        for name, colour in colours.items():
            axis.plot(np.ravel(task["scores"][name]["achieved"]), color=colour, lw=1, label=name)
        axis.set(title=f"task {task['task']}: {task['name']}", xlabel="step", ylim=(-1.0, 4.0))
    right[0].set_ylabel("velocity, m/s")
    right[0].legend(fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda p: figure.savefig(p, dpi=130, format="png"))
