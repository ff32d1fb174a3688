"""A file written by hand, and what was written comes back."""

from pathlib import Path

import numpy as np
import pytest
from trajtune_episodes_csv import CSV

from trajtune.data.episodes import from_episodes
from trajtune.errors import UserError

BY_HAND = """\
episode,observations.0,observations.1,actions.0,rewards,terminated
first,1,2,0.5,-1,0
first,3,4,-0.5,-2,1
first,5,6,,,
second,7,8,1,10,0
second,9,9.5,,,
"""


def test_a_file_by_hand(tmp_path: Path) -> None:
    """Two episodes of two steps and of one, each with the state that followed."""
    path = tmp_path / "two.csv"
    path.write_text(BY_HAND)
    assert CSV.recognises(path)
    data = from_episodes(CSV.read(path))
    assert data.observations.tolist() == [[1, 2], [3, 4], [7, 8]]
    assert data.actions.tolist() == [[0.5], [-0.5], [1.0]]
    assert data.returns_to_go.tolist() == [-3, -2, 10]
    assert data.length.tolist() == [2, 1] and data.terminated.tolist() == [True, False]
    assert data.final_observations is not None and data.final_observations.tolist() == [[5, 6], [9, 9.5]]


def test_what_was_written_comes_back_to_the_bit(tmp_path: Path) -> None:
    """Float32 numbers of every size, a flag told once, and columns of one."""
    rng = np.random.default_rng(0)
    episodes = [
        {
            "observations": (rng.standard_normal((n + 1, 1)) * 10.0 ** rng.integers(-20, 20)).astype(np.float32),
            "actions": rng.uniform(-1.0, 1.0, (n, 3)).astype(np.float32),
            "rewards": rng.standard_normal(n).astype(np.float32),
            "terminated": n == 1,
        }
        for n in (1, 4)
    ]
    assert CSV.write is not None
    CSV.write(tmp_path / "out.csv", episodes)
    found, expected = from_episodes(CSV.read(tmp_path / "out.csv")), from_episodes(episodes)
    for name, array in vars(expected).items():
        assert np.array_equal(getattr(found, name), array) if array is not None else getattr(found, name) is None


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "must begin with a line of names"),
        ("observations.0,rewards\n1,2\n", "must begin with a line of names"),
        ("episode,rewards,rewards\n", "two columns 'rewards'"),
        ("episode,observations.0,observations.2\n", "'observations.2' stands where observations.1 should"),
        ("episode,rewards\n0,1,2\n", "line 2: 3 values under 2 names"),
        ("episode,rewards\n0,1\n\n0,much\n", "line 4: 'much' is not a number"),
        ("episode,rewards\n0,\n0,1\n", "line 2: '' is not a number"),
        ("episode,rewards\n0,\xff\n", "cannot be read as CSV"),
    ],
)
def test_what_is_damaged_is_one_line(tmp_path: Path, text: str, wrong: str) -> None:
    """The line names the file, and its line where there is one."""
    path = tmp_path / "odd.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=wrong) as caught:
        list(CSV.read(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
