"""The sizes of the paper's Table 2, from the smallest to (48, 256, 16): build, train a step, save and load."""

from pathlib import Path

import pytest

from trajtune.agents.saving import identity, initialise, load_agent
from trajtune.data.store import Dataset
from trajtune.training.config import PretrainConfig, TrainConfig
from trajtune.training.pretrain import pretrain

TABLE_2 = ((3, 128, 1), (8, 128, 4), (16, 128, 8), (16, 256, 8), (32, 256, 16), (48, 256, 16))
"""(layers, width, heads): the ends as printed, the rest by the paper's megabytes; heads in between are ours."""
HORIZON = 30


@pytest.mark.parametrize(("layers", "width", "heads"), TABLE_2)
def test_builds_trains_saves_and_loads(
    layers: int, width: int, heads: int, point_data: Dataset, tmp_path: Path
) -> None:
    config = PretrainConfig(
        options={"layers": layers, "width": width, "heads": heads},
        training=TrainConfig(steps=1, batch=2, warmup=1, learning_rate=1e-3, precision="fp32"),
    )
    made = pretrain(point_data, [0, 1, 3, 4], HORIZON, config, tmp_path / "agent")
    loaded = load_agent(tmp_path / "agent").agent
    assert identity(loaded) == identity(made.agent)
    parameters = dict(loaded.named_parameters())
    in_transformer = sum(p.numel() for name, p in parameters.items() if name.startswith("transformer."))
    assert in_transformer == layers * (12 * width * width + 13 * width) + 2 * width

    dims = {name: int(point_data.metadata[name]) for name in ("observation_dim", "action_dim")}
    untrained = initialise("prompt-dt", {**dims, "max_timesteps": HORIZON, **config.options}, config.training.seed)
    matrices = [name for name, p in parameters.items() if name.startswith("transformer.blocks") and p.ndim == 2]
    assert len(matrices) == 4 * layers
    for name in matrices:  # every block learned from the step, by more than weight decay alone would move it
        moved = (parameters[name] - untrained.get_parameter(name)).abs().max()
        assert moved > 1e-4, name
