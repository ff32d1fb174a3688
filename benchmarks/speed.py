"""Speed beside a peer, in one run, one thread each: ``python benchmarks/speed.py [--json FILE]``.

The peer is ``transformers.DecisionTransformerModel`` of the same size, (3, 128, 1), over the same 25 steps: ours has 20
of history behind a prompt of 5. Every pair is measured in alternation, and the median counts, so that a busy machine
disturbs both alike. Shares of peak are FLOPs that the mathematics needs (not those that were spent) over what a
2048^3 matrix product reaches here in the same number format. bfloat16 is left out where the processor only emulates it.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from trajtune.agents.base import Agent
from trajtune.agents.saving import initialise
from trajtune.compute.precision import has_bf16
from trajtune.data.episodes import from_episodes
from trajtune.data.sampling import draw_batch
from trajtune.suites import get_suite
from trajtune.types import Batch

LAYERS, WIDTH, HEADS, WINDOW, PROMPT = 3, 128, 1, 20, 5
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
FORMATS = [name for name in DTYPES if name == "fp32" or has_bf16(torch.device("cpu"))]
BEST = FORMATS[-1]


def our_agent(dropout: float = 0.0) -> Agent:
    sizes = {"observation_dim": 20, "action_dim": 6, "max_timesteps": 200, "dropout": dropout}
    return initialise("prompt-dt", sizes, 0)


def seconds(pairs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Return the median time of each function, measured in alternation after one warm-up call."""
    times: dict[str, list[float]] = {name: [] for name in pairs}
    for function in pairs.values():
        function()
    for _ in range(rounds):
        for name, function in pairs.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def peak(dtype: torch.dtype) -> float:
    """FLOP/s of a 2048^3 matrix product, the best of five."""
    a = torch.randn(2048, 2048).to(dtype)
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - start)
    return 2 * 2048**3 / best


def peer_model() -> nn.Module:
    from transformers import DecisionTransformerConfig, DecisionTransformerModel

    config = DecisionTransformerConfig(
        state_dim=20, act_dim=6, hidden_size=WIDTH, n_layer=LAYERS, n_head=HEADS, n_inner=4 * WIDTH, max_ep_len=200
    )
    return DecisionTransformerModel(config)


def our_batch(batch: int) -> Batch:
    rng = np.random.default_rng(0)
    episodes = [
        {"observations": rng.standard_normal((200, 20)), "actions": rng.uniform(-1, 1, (200, 6))}
        | {"rewards": rng.standard_normal(200)}
        for _ in range(4)
    ]
    return draw_batch(from_episodes(episodes), rng, batch, WINDOW, PROMPT)


def training_steps(batch: int, dropout: float) -> dict[str, Callable[[], None]]:
    """One optimiser step of each: forward, squared error of the actions, backward, clip, AdamW."""
    ours = {name: our_agent(dropout).train() for name in FORMATS}
    peer = {name: peer_model().train() for name in FORMATS}
    for model in peer.values():
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
    data = our_batch(batch)
    rng = np.random.default_rng(0)
    steps = WINDOW + PROMPT
    inputs = {
        "states": torch.from_numpy(rng.standard_normal((batch, steps, 20)).astype(np.float32)),
        "actions": torch.from_numpy(rng.standard_normal((batch, steps, 6)).astype(np.float32)),
        "rewards": torch.zeros(batch, steps, 1),
        "returns_to_go": torch.from_numpy(rng.standard_normal((batch, steps, 1)).astype(np.float32)),
        "timesteps": torch.arange(steps).expand(batch, steps),
        "attention_mask": torch.ones(batch, steps),
    }

    def stepper(model: nn.Module, loss: Callable[[], torch.Tensor], bf16: bool) -> Callable[[], None]:
        optimizer = torch.optim.AdamW(model.parameters(), 1e-4, weight_decay=1e-4, fused=True)

        def step() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                value = loss()
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.25)
            optimizer.step()

        return step

    def our_loss(model: nn.Module) -> torch.Tensor:
        return F.mse_loss(model(data), data.window.actions)

    def peer_loss(model: nn.Module) -> torch.Tensor:
        return F.mse_loss(model(**inputs).action_preds.float(), inputs["actions"])

    steppers = {}
    for name, form in ((name, form) for name in ("peer", "ours") for form in FORMATS):
        model, loss = (peer[form], peer_loss) if name == "peer" else (ours[form], our_loss)
        steppers[f"{name} {form}"] = stepper(model, lambda model=model, loss=loss: loss(model), form == "bf16")
    return steppers


def training_flops(batch: int) -> float:
    """Forward and twice that backward: linear maps of all blocks on all tokens but the last block's on state tokens."""
    tokens = 3 * (WINDOW + PROMPT) - 1
    block = 12 * WIDTH**2
    first = (LAYERS - 1) * tokens * block + tokens * 3 * WIDTH**2 + WINDOW * 9 * WIDTH**2
    attention = (LAYERS - 1) * tokens * tokens * WIDTH + 2 * WINDOW * tokens * WIDTH
    embeddings = (WINDOW + PROMPT) * (20 + 6 + 1) * WIDTH
    return 3 * 2 * batch * (first + attention + embeddings)


def acting_flops() -> float:
    """Per action, once the window is full: block 1 without queries, keys and values, block 2, one last token."""
    history, prefix = 3 * WINDOW - 1, 3 * PROMPT
    pairs = history * (prefix + (history + 1) / 2)
    middle = history * (9 + 12 * (LAYERS - 2)) * WIDTH**2 + (LAYERS - 1) * 2 * pairs * WIDTH
    fresh = 3 * 3 * WIDTH**2
    last = 12 * WIDTH**2 + 2 * (history + prefix) * WIDTH
    return 2 * (middle + fresh + last)


def peer_episode(steps: int) -> float:
    """Acts in one Cheetah environment as the model's documentation shows; returns control steps a second."""
    suite = get_suite("cheetah-vel")
    env = suite.make(suite.tasks[0])
    model = peer_model().eval()
    window = WINDOW + PROMPT
    states, actions = torch.zeros(0, 20), torch.zeros(0, 6)
    returns, times = torch.zeros(0, 1), torch.zeros(0, dtype=torch.int64)
    observation, _ = env.reset(seed=0)
    start = time.perf_counter()
    with torch.no_grad():
        for t in range(steps):
            states = torch.cat([states, torch.from_numpy(observation).float()[None]])
            actions = torch.cat([actions, torch.zeros(1, 6)])
            returns, times = torch.cat([returns, torch.zeros(1, 1)]), torch.cat([times, torch.tensor([t])])
            last = slice(max(0, t + 1 - window), None)
            out = model(
                states=states[last][None],
                actions=actions[last][None],
                rewards=returns[last][None],
                returns_to_go=returns[last][None],
                timesteps=times[last][None],
                attention_mask=torch.ones(1, len(states[last])),
            )
            actions[-1] = out.action_preds[0, -1]
            observation, *_ = env.step(actions[-1].numpy())
    return steps / (time.perf_counter() - start)


def our_episodes(agent: Agent, batch: int, dtype: torch.dtype, physics: bool, steps: int) -> float:
    """Acts in ``batch`` Cheetah environments at once; returns control steps a second, all together."""
    suite = get_suite("cheetah-vel")
    envs = [suite.make(suite.tasks[0]) for _ in range(batch)]
    observations = np.stack([env.reset(seed=i)[0] for i, env in enumerate(envs)]).astype(np.float32)
    prompts, actions = our_batch(batch).prompt, None
    start = time.perf_counter()
    actor = agent.actor(prompts, dtype)
    remaining = torch.zeros(batch)
    for t in range(steps):
        actions = actor.act(t, remaining, torch.from_numpy(observations), actions)
        if physics:
            for i, (env, action) in enumerate(zip(envs, actions.numpy(), strict=True)):
                observations[i] = env.step(action)[0]
    return batch * steps / (time.perf_counter() - start)


def physics_rate(steps: int = 4000) -> float:
    suite = get_suite("cheetah-vel")
    env = suite.make(suite.tasks[0])
    env.reset(seed=0)
    actions = np.random.default_rng(0).uniform(-1, 1, (steps, 6)).astype(np.float32)
    start = time.perf_counter()
    for action in actions:
        env.step(action)
    return steps / (time.perf_counter() - start)


def measure(rounds: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    best, dtype = BEST, DTYPES[BEST]
    peaks = {name: peak(DTYPES[name]) for name in FORMATS}
    result: dict[str, Any] = {"peak_flops": peaks, "threads": 1, "torch": torch.__version__, "format": best}
    result["training"] = {}
    for dropout in (0.0, 0.1):
        for batch in (16, 64):
            times = seconds(training_steps(batch, dropout), rounds)
            result["training"][f"batch {batch}, dropout {dropout}"] = {
                "milliseconds": {name: 1e3 * value for name, value in times.items()},
                "ratio": times[f"ours {best}"] / times["peer fp32"],
                "ratio_same_format": {f: times[f"ours {f}"] / times[f"peer {f}"] for f in FORMATS},
                "share_of_peak": training_flops(batch) / times[f"ours {best}"] / peaks[best],
            }
    agent = our_agent().eval()
    rates: dict[str, list[float]] = {}
    for _ in range(max(1, rounds // 5)):
        rates.setdefault("peer, one environment", []).append(peer_episode(100))
        for batch in (32, 64, 128):
            rates.setdefault(f"ours, {batch} environments", []).append(our_episodes(agent, batch, dtype, True, 60))
        rates.setdefault("ours, 64, no physics", []).append(our_episodes(agent, 64, dtype, False, 60))
        rates.setdefault("ours, 64, fp32", []).append(our_episodes(agent, 64, torch.float32, True, 60))
        rates.setdefault("physics alone", []).append(physics_rate())
    acting = {name: statistics.median(values) for name, values in rates.items()}
    fastest = max(acting[f"ours, {batch} environments"] for batch in (32, 64, 128))
    result["acting"] = {
        "steps_per_second": acting,
        "ratio": fastest / acting["peer, one environment"],
        "share_of_peak": acting_flops() * acting["ours, 64, no physics"] / peaks[best],
    }
    return result


def show(result: dict[str, Any]) -> None:
    peaks = result["peak_flops"]
    rates = ", ".join(f"{value / 1e9:.0f} GFLOP/s {name}" for name, value in peaks.items())
    print(f"one thread; matrix product 2048^3: {rates}" + ("" if len(peaks) > 1 else "; bf16 is only emulated here"))
    names = next(iter(result["training"].values()))["milliseconds"]
    print(f"\n{'training step, ms':28} " + " ".join(f"{name:>10}" for name in names), end="")
    print(f" {'ours/peer':>10} {'goal':>6} {'of peak':>8}")
    for name, entry in result["training"].items():
        cells = " ".join(f"{value:10.1f}" for value in entry["milliseconds"].values())
        print(f"{name:28} {cells} {entry['ratio']:10.2f} {'0.25':>6} {entry['share_of_peak']:8.0%}")
    acting = result["acting"]
    print(f"\n{'acting, control steps a second':40}")
    for name, rate in acting["steps_per_second"].items():
        print(f"  {name:38} {rate:10.0f}")
    print(f"  ours / peer {acting['ratio']:.1f} (goal 15); acting alone is at {acting['share_of_peak']:.0%} of peak")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    result = measure(arguments.rounds)
    show(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
