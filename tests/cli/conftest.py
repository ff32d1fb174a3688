from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import Capture, contents, finetune, one_line, run, write_dataset
from trajtune.agents.saving import initialise, save_agent
from trajtune.data.store import Dataset

Refuse = Callable[..., str]


@pytest.fixture
def refuse(capsys: Capture, tmp_path: Path) -> Refuse:
    """Run a command that must be refused: ``refuse(arguments, culprits...)``; ``tmp_path`` must stay as it is."""

    def refuse(arguments: list[Any], *culprits: object) -> str:
        before = contents(tmp_path)
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        line = one_line(code, captured.out, captured.err, *culprits)
        assert contents(tmp_path) == before
        return line

    return refuse


@pytest.fixture(scope="session")
def delta(point_agent_folder: Path, point_data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What finetuning task 5 left."""
    folder = tmp_path_factory.mktemp("delta") / "point"
    assert run(finetune(point_agent_folder, point_data.path, folder)) == 0
    return folder


@pytest.fixture(scope="session")
def cheetah_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset that says it is of HalfCheetah-Vel."""
    return write_dataset(tmp_path_factory.mktemp("data") / "cheetah", "cheetah-vel", 20, 6)


@pytest.fixture(scope="session")
def cheetah_agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("agent") / "cheetah"
    sizes = {"observation_dim": 20, "action_dim": 6, "max_timesteps": 200}
    agent = initialise("prompt-dt", {**sizes, "layers": 1, "width": 16, "window": 6, "prompt": 3}, 0)
    save_agent(folder, agent, "cheetah-vel", {}, {})
    return folder
