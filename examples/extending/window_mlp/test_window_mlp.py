"""An action may depend on the past only, and on nothing that is older than the window."""

import dataclasses

import torch
from trajtune_window_mlp import WindowMLPConfig
from trajtune_window_mlp.model import WindowMLP

from trajtune.types import Batch, Window


def _window(steps: int) -> Window:
    generator = torch.Generator().manual_seed(0)
    every = torch.ones(1, steps, dtype=torch.bool)
    return Window(
        returns_to_go=torch.rand(1, steps, generator=generator),
        observations=torch.rand(1, steps, 2, generator=generator),
        actions=torch.rand(1, steps, 1, generator=generator),
        rewards=torch.zeros(1, steps),
        timesteps=torch.arange(steps)[None],
        terminals=~every,
        mask=every,
        present=every,
        index=torch.arange(steps)[None],
    )


def test_what_each_action_depends_on() -> None:
    """Step 3 changes: who sees it, and who must not."""
    agent = WindowMLP(WindowMLPConfig(2, 1, max_timesteps=9, window=3, hidden=8))
    agent.initialise(torch.Generator().manual_seed(0))
    window = _window(6)
    with torch.no_grad():
        plain = agent(Batch(None, window))
        for name, first in {"observations": 3, "returns_to_go": 3, "actions": 4}.items():
            changed = getattr(window, name).clone()
            changed[:, 3] += 1.0
            moved = (agent(Batch(None, dataclasses.replace(window, **{name: changed}))) != plain).any(-1)[0]
            last = 6  # step 3 is seen from steps 3, 4 and 5
            assert moved.nonzero().flatten().tolist() == list(range(first, last)), name
        assert torch.equal(agent(Batch(None, window))[:, :4], agent(Batch(None, _window(6)))[:, :4])
