"""A small point-robot dataset and a pretrained agent, made once a session with the project's own code."""

from pathlib import Path

import pytest
import torch

from trajtune.agents.saving import SavedAgent, load_agent
from trajtune.data.fewshot import FewShot, few_shot
from trajtune.data.setting import Setting
from trajtune.data.store import Dataset
from trajtune.experts.collect import collect
from trajtune.experts.config import CollectConfig
from trajtune.suites import get_suite
from trajtune.training.config import PretrainConfig, TrainConfig
from trajtune.training.pretrain import pretrain

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def point_data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """All sixteen point tasks, ten expert and ten medium trajectories each."""
    folder: Path = tmp_path_factory.mktemp("data") / "point"
    return collect(CollectConfig("point", tuple(range(16)), trajectories=10, experts="scripted"), folder)


@pytest.fixture(scope="session")
def point_agent_folder(point_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an agent pretrained on the medium data of the training tasks."""
    folder: Path = tmp_path_factory.mktemp("agent") / "point"
    config = PretrainConfig(
        options={"layers": 2, "width": 32, "window": 6, "prompt": 3},
        training=TrainConfig(steps=200, learning_rate=1e-3, schedule="cosine", checkpoint_every=100, precision="fp32"),
    )
    suite = get_suite("point")
    pretrain(point_data, list(suite.train), suite.horizon(0), config, folder)
    return folder


@pytest.fixture(scope="session")
def point_agent(point_agent_folder: Path) -> SavedAgent:
    return load_agent(point_agent_folder)


@pytest.fixture(scope="session")
def point_few(point_data: Dataset) -> FewShot:
    """Five medium trajectories of a held-out goal."""
    return few_shot(point_data, 5, Setting("medium", 5), seed=0, prompt_length=3)
