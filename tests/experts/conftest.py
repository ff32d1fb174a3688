"""A collection that many tests compare with."""

import pytest

from tests.experts.collecting import CONFIG, contents
from trajtune.experts.collect import collect


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What ``CONFIG`` gives, in one process and uninterrupted."""
    folder = tmp_path_factory.mktemp("collect") / "data"
    collect(CONFIG, folder)
    return contents(folder)
