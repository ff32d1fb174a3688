"""The outside algorithm and tuning go through the same tests as ours: the matrix finds them by itself."""

import subprocess
from collections.abc import Callable

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")


def test_the_examples_pass_their_own_tests(python: Run) -> None:
    done = python(*PYTEST, "examples/extending")
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["awr", "bias"])
def test_the_matrix_covers_them(python: Run, name: str) -> None:
    """``-k``: the cells of one name. With nothing selected, pytest would not exit with 0."""
    done = python(*PYTEST, "tests/conformance", "-k", name)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "passed" in done.stdout
