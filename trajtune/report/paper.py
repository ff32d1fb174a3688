"""The paper's own tables, as far as ours can stand beside them."""

from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np


@cache
def printed() -> dict[str, Any]:
    """Return what the paper prints."""
    import yaml

    found: dict[str, Any] = yaml.safe_load(files("trajtune.report").joinpath("paper.yaml").read_text("utf-8"))
    return found


def paper_returns(tuning: str, suite: str) -> dict[str, float]:
    """Return Table 1's mean returns by algorithm; nothing where the paper has none."""
    table = printed()["table1"]
    values = table.get(tuning, {}).get(suite, []) if tuning != "algorithms" else []
    return dict(zip(table["algorithms"], values, strict=False))


def paper_minutes(tuning: str) -> dict[str, float]:
    """Return Table 3's minutes by algorithm."""
    table = printed()["table3"]
    return dict(zip(table["algorithms"], table.get(tuning, []) if tuning != "algorithms" else [], strict=False))


def agreement(ours: dict[str, float], theirs: dict[str, float]) -> float | None:
    """Return Spearman's rank correlation over the algorithms that both have; None for fewer than three, or for ties
    alone."""
    from scipy.stats import rankdata

    both = [name for name in ours if name in theirs]
    if len(both) < 3:
        return None
    a, b = (rankdata([values[name] for name in both]) for values in (ours, theirs))
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])
