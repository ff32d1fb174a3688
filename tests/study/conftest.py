"""A small study, and a plug-in that breaks it: an algorithm that kills its process, or raises, where it is told to."""

from pathlib import Path

import pytest

from tests.helpers import quick
from trajtune.algorithms import ALGORITHMS
from trajtune.data.setting import Setting
from trajtune.data.store import Dataset
from trajtune.study.declaration import Method, Source, Study
from trajtune.training.config import TrainConfig

TRAINING = TrainConfig(steps=4, batch=4, precision="fp32", log_every=1)

DEADLY = """
from dataclasses import dataclass
from trajtune.algorithms import AlgorithmEntry

@dataclass(frozen=True)
class Config:
    how: str = "always"   # always, once, raise
    mark: str = ""

ENTRY = AlgorithmEntry("sft that dies", {"": Config}, "deadly_sft:Deadly")
"""
DEADLY_SFT = """
import os, signal
from pathlib import Path
from trajtune.algorithms.configs import SFTConfig
from trajtune.algorithms.sft import SFT

class Deadly(SFT):
    def __init__(self, config):
        super().__init__(SFTConfig())
        self.deadly = config

    def after_step(self, policy, step):
        super().after_step(policy, step)
        mark = Path(self.deadly.mark)
        before = mark.read_text() if mark.exists() else ""
        if step != 2 or (self.deadly.how == "once" and before):
            return
        mark.write_text(before + "x")
        if self.deadly.how == "raise":
            raise RuntimeError("a bug")
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="session")
def study(point_data: Dataset, point_agent_folder: Path) -> Study:
    """Two tasks, zero-shot and two cells."""
    return Study(
        {"point": Source(point_agent_folder, point_data.path)},
        (Setting("medium", 5),),
        (
            Method(("sft",), ("full",), learning_rate=1e-3),
            Method(("qp-sft",), ("full",), learning_rate=1e-3, options=quick("qp-sft")),
        ),
        tasks="5,10",
        episodes=3,
        points=1,
        curve_episodes=2,
        training=TRAINING,
    )


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the algorithm, as another package would add it; workers find it on the same path."""
    folder = tmp_path / "plugin"
    about = folder / "deadly-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: deadly\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[trajtune.algorithms]\ndeadly = deadly:ENTRY\n")
    (folder / "deadly.py").write_text(DEADLY)
    (folder / "deadly_sft.py").write_text(DEADLY_SFT)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(ALGORITHMS, "_found", None)  # asked for before, it has looked around already
    return "deadly"
