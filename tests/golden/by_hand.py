"""What golden tests share: float64 tensors, two windows with padding, and a scalar beside its value by hand."""

import pytest
import torch
from torch import Tensor

NAN, HUGE = float("nan"), 1e30
T, F = True, False
MASK = torch.tensor([[T, T, F], [T, F, F]])


def tensor(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(value: Tensor, expected: float) -> None:
    assert value.dtype == torch.float64
    assert value.shape == ()
    assert float(value) == pytest.approx(expected, rel=1e-6)
