"""Training a SAC expert, with the experts extra installed: stopped and resumed equals uninterrupted, bit for bit."""

from pathlib import Path

import pytest

from trajtune.errors import UserError
from trajtune.experts.sac import SACConfig, train_expert
from trajtune.suites import get_suite

pytest.importorskip("sbx")
pytestmark = [pytest.mark.experts, pytest.mark.slow]

CONFIG = SACConfig(updates=1200, learning_starts=500, checkpoint_every=200, save_every=300)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_stopped_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    """The run is stopped between two saved states; the checkpoints on the way must be the same too."""

    class Stop(Exception):  # noqa: N818
        pass

    def stop(stage: str, done: int, total: int, *metrics: object) -> None:
        if done > 800:
            raise Stop

    suite = get_suite("point")
    train_expert(suite, None, CONFIG, tmp_path / "whole", 0)
    with pytest.raises(Stop):
        train_expert(suite, None, CONFIG, tmp_path / "parts", 0, stop)
    assert (tmp_path / "parts" / "state.json").exists()
    train_expert(suite, None, CONFIG, tmp_path / "parts", 0)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    with pytest.raises(UserError, match="another seed"):
        train_expert(suite, None, CONFIG, tmp_path / "parts", 1)
