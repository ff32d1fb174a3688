"""The data side of a run checks itself, without PyTorch."""

import subprocess
import sys
from typing import Any, get_args

import pytest

from trajtune.data.setting import Reward, Setting
from trajtune.data.transforms import REWARDS
from trajtune.errors import UserError


def test_rewards_are_named_once() -> None:
    assert tuple(REWARDS) == get_args(Reward)


@pytest.mark.parametrize("quality", [None, "medium", "expert"])
@pytest.mark.parametrize("reward", get_args(Reward))
def test_a_setting_is_what_was_given(quality: str | None, reward: Reward) -> None:
    made = Setting(quality, 7, reward)
    assert (made.quality, made.trajectories, made.reward) == (quality, 7, reward)
    assert made == Setting(quality, 7, reward) and hash(made) == hash(Setting(quality, 7, reward))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"quality": ""}, "quality must be one of the dataset's, or None"),
        ({"quality": 3}, "quality must be"),
        ({"trajectories": 0}, "trajectories must be a whole number from 1 on, got 0"),
        ({"trajectories": -1}, "trajectories must be"),
        ({"trajectories": 2.0}, "trajectories must be"),
        ({"trajectories": True}, "trajectories must be"),
        ({"target": "bset"}, "unknown target 'bset': did you mean best"),
        ({"target": True}, "target must be best, mean, expert or a finite number, got True"),
        ({"target": float("nan")}, "target must be"),
        ({"reward": "spares"}, "unknown reward 'spares': did you mean sparse\\? choose one of dense, sparse"),
    ],
)
def test_a_setting_refuses(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Setting(**change)


@pytest.mark.parametrize("module", ["setting", "transforms", "store", "writer", "episodes", "formats.reading"])
def test_what_needs_no_torch_loads_none(module: str) -> None:
    code = f"import sys, trajtune.data.{module}; assert not {{'torch', 'safetensors.torch'}} & set(sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
