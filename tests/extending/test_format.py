"""A data format of another package: found by name or by the file, read and written."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.extending.checks import check_format
from trajtune.data.episodes import Episode
from trajtune.data.formats import FORMATS
from trajtune.data.formats.reading import read_episodes, recognise
from trajtune.errors import UserError

pytestmark = pytest.mark.usefixtures("plugins")


def episodes() -> list[Episode]:
    """Of different lengths, with and without an end."""
    rng = np.random.default_rng(0)
    return [
        {
            "observations": rng.standard_normal((n + 1, 3)).astype(np.float32),
            "actions": rng.uniform(-1.0, 1.0, (n, 2)).astype(np.float32),
            "rewards": rng.standard_normal(n).astype(np.float32),
            "terminations": np.arange(n) == (n - 1 if n == 4 else -1),
        }
        for n in (4, 1, 7)
    ]


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    check_format(FORMATS["csv"], tmp_path / "some.csv", episodes())


def test_our_arrays_keep_it_too(tmp_path: Path) -> None:
    check_format(FORMATS["arrays"], tmp_path / "some.npz", episodes())


def test_a_file_tells_its_format(tmp_path: Path) -> None:
    csv, npz = tmp_path / "some.csv", tmp_path / "some.npz"
    for path, name in ((csv, "csv"), (npz, "arrays")):
        write = FORMATS[name].write
        assert write is not None
        write(path, episodes())
        assert recognise(path) == name
        assert len(list(read_episodes(path))) == 3
    with pytest.raises(UserError, match=re.escape(str(npz))):
        list(read_episodes(npz, "csv"))
