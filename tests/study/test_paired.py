"""The script that makes the confirmation's tables."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_interval_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tasks that differ and seeds that do not: only which tasks are drawn counts, so 0, 1 or their mean."""
    monkeypatch.syspath_prepend(str(ROOT / "studies"))
    from paired import interval  # type: ignore[import-not-found]

    low, high = interval({(task, seed): float(task) for task in (0, 1) for seed in range(3)})
    assert (low, high) == (0.0, 1.0)
    same = {(task, seed): 0.25 for task in range(5) for seed in range(3)}
    np.testing.assert_allclose(interval(same), 0.25)


def test_it_prints_what_the_confirmation_says() -> None:
    command = [sys.executable, "studies/paired.py", "docs/results/packed/confirmation-first.jsonl.xz"]
    said = subprocess.run([*command, "sft", "cheetah-vel"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    document = (ROOT / "docs" / "results" / "confirmation.md").read_text()
    rows = [line for line in said.splitlines() if line.startswith("| ppo x")]
    assert len(rows) == 6 and all(row in document for row in rows)
