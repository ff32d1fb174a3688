"""What several tests share: random prompts, windows and agents, batches of few-shot data, one run in a line."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trajtune.agents.prompt_dt.config import PromptDTConfig
from trajtune.agents.prompt_dt.model import PromptDT
from trajtune.agents.saving import SavedAgent
from trajtune.algorithms import ALGORITHMS, CRITIC
from trajtune.algorithms.configs import CriticConfig
from trajtune.data.episodes import from_episodes
from trajtune.data.fewshot import FewShot
from trajtune.data.sampling import draw_batch
from trajtune.data.trajectories import Trajectories
from trajtune.policy import Policy
from trajtune.training.config import Recipe, TrainConfig
from trajtune.training.finetune import Finetuned, finetune
from trajtune.tunings.making import make_policy
from trajtune.types import Batch, Prompt, Window

SMALL = PromptDTConfig(3, 2, max_timesteps=12, layers=2, width=16, heads=2, window=5, prompt=3)


def new_agent(config: PromptDTConfig, seed: int = 0) -> PromptDT:
    """As at the start of pretraining."""
    agent = PromptDT(config)
    agent.initialise(torch.Generator().manual_seed(seed))
    return agent.eval()


def random_agent(config: PromptDTConfig = SMALL, seed: int = 0, scale: float = 0.3) -> PromptDT:
    """Weights far larger than at the start of training, so that every token matters."""
    agent = new_agent(config, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in agent.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=scale)
    return agent


def random_prompt(steps: int, states: int, actions: int, rows: int = 1, seed: int = 0, first: int = 3) -> Prompt:
    g = torch.Generator().manual_seed(seed)
    times = (torch.arange(steps) + first).expand(rows, steps)
    values = [torch.randn(rows, steps, *n, generator=g) for n in ((), (states,), (actions,))]
    return Prompt(*values, times)


def random_window(steps: int, states: int, actions: int, rows: int, seed: int = 1, first: int = 0) -> Window:
    g = torch.Generator().manual_seed(seed)
    returns, observations, done = (torch.randn(rows, steps, *n, generator=g) for n in ((), (states,), (actions,)))
    yes = torch.ones(rows, steps, dtype=torch.bool)
    times = (torch.arange(steps) + first).expand(rows, steps)
    return Window(returns, observations, done, returns, times, ~yes, yes, yes, times)


def random_batch(config: PromptDTConfig = SMALL, rows: int = 4, seed: int = 0) -> Batch:
    s, a = config.observation_dim, config.action_dim
    prompt = random_prompt(config.prompt, s, a, rows, seed, first=0) if config.prompt else None
    return Batch(prompt, random_window(config.window, s, a, rows, seed + 1, first=2))


def few_batch(base: SavedAgent, few: FewShot, rows: int = 16, seed: int = 1) -> Batch:
    """Windows and prompts of a few-shot set."""
    spec, rng = base.agent.spec, np.random.default_rng(seed)
    return draw_batch(few.trajectories, rng, rows, spec.window, spec.prompt, spec.max_timesteps)


def tuned(
    base: SavedAgent, few: FewShot, algorithm: str, tuning: str, config: TrainConfig, *, std: float = 0.2, **more: Any
) -> Finetuned:
    """Finetune; ``options`` and ``tuning_options`` go into the recipe, the rest to ``finetune``."""
    options = {name: more.pop(name) for name in ("options", "tuning_options") if name in more}
    return finetune(base, few, Recipe(algorithm, tuning, std=std, training=config, **options), **more)


def quick(algorithm: str, updates: int = 3, trust: bool | None = None) -> dict[str, Any]:
    """Options that warm an algorithm's critic, if it has one, by a few updates: for tests that need no good one.

    ``trust`` is what an algorithm's option of that name becomes, if it has one: False, and every part of it runs.
    """
    configs = ALGORITHMS[algorithm].configs
    options: dict[str, Any] = {}
    if (critic := configs.get(CRITIC)) is not None and issubclass(critic, CriticConfig):
        options |= {"critic.monte_carlo": updates, "critic.bootstrapped": updates}
    if trust is not None and hasattr(configs[""](), "trust"):
        options["trust"] = trust
    return options


def small_policy(seed: int = 0) -> Policy:
    """The small agent, tuned in full."""
    return make_policy("full", random_agent(seed=seed), random_prompt(3, 3, 2), std=0.2, seed=seed)


def some_trajectories(
    lengths: tuple[int, ...], ended: tuple[bool, ...], known: bool = True, states: int = 3, actions: int = 2
) -> Trajectories:
    """Random ones; with ``known``, the state after the last step of each is recorded."""
    rng = np.random.default_rng(0)
    return from_episodes(
        [
            {
                "observations": rng.normal(size=(n + known, states)),
                "actions": rng.uniform(-1.0, 1.0, size=(n, actions)),
                "rewards": rng.normal(size=n),
                "terminated": end,
            }
            for n, end in zip(lengths, ended, strict=True)
        ]
    )


def python(code: str, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    """Start a Python process that runs ``code`` with this checkout on its path."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd()), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
