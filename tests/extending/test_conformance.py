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
def test_the_matrix_covers_them(python: Run) -> None:
    """Every cell of the outside algorithm and of the outside tuning; ``pytest`` fails if it finds none."""
    done = python(*PYTEST, "tests/conformance", "-k", "awr-example or bias")
    assert done.returncode == 0, done.stdout[-4000:]
    listed = python(*PYTEST, "tests/conformance", "-k", "awr-example or bias", "--collect-only", "-vv").stdout
    assert all(cell in listed for cell in ("awr-example-adapter", "awr-example-bias", "sft-bias", "qp-dpo-bias"))
