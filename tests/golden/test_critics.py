"""Critics: the written-out Mish against PyTorch's, and the batched networks against one after the other."""

import pytest
import torch
import torch.nn.functional as F

from trajtune.algorithms.critics import initialise_critic, mish

POINTS = torch.cat([torch.linspace(-200.0, 200.0, 801), torch.linspace(-5.0, 5.0, 1001)])


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6), (torch.bfloat16, 2**-8)], ids=str
)
def test_mish_and_its_slope_are_those_of_pytorch(dtype: torch.dtype, tolerance: float) -> None:
    x = POINTS.to(dtype).requires_grad_()
    exact = x.detach().double().requires_grad_()
    y, expected = mish(x), F.mish(exact)
    (slope,) = torch.autograd.grad(y.sum(), x)
    (expected_slope,) = torch.autograd.grad(expected.sum(), exact)
    assert y.dtype == slope.dtype == dtype
    torch.testing.assert_close(y.double(), expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(slope.double(), expected_slope, rtol=tolerance, atol=tolerance)


def test_mish_maps_over_members() -> None:
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(torch.vmap(mish)(x), F.mish(x))
    slopes = torch.vmap(torch.func.grad(lambda row: mish(row).sum()))(x)
    torch.testing.assert_close(slopes, torch.func.grad(lambda all_: F.mish(all_).sum())(x))


def test_members_are_independent_networks() -> None:
    critic = initialise_critic(5, 2, seed=0, name="q")
    generator = torch.Generator().manual_seed(1)
    states, actions = torch.randn(4, 3, 3, generator=generator), torch.randn(4, 3, 2, generator=generator)
    values = critic(states, actions)
    assert values.shape == (2, 4, 3)
    for member in range(2):
        x = torch.cat([states, actions], dim=-1)
        for i, (weight, bias) in enumerate(zip(critic.weights, critic.biases, strict=True)):
            x = x @ weight[member] + bias[member]
            x = F.mish(x) if i < 3 else x
        torch.testing.assert_close(values[member], x.squeeze(-1))
        torch.testing.assert_close(critic(states, actions, which=slice(member, member + 1))[0], values[member])


def test_the_slope_is_that_of_autograd() -> None:
    critic = initialise_critic(5, 2, seed=0, name="q")
    critic.centre.fill_(-7.0)
    critic.scale.fill_(30.0)
    states, actions = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(1)).split([3, 2], dim=-1)
    actions = actions.clone().requires_grad_()
    expected = critic(states, actions)[0]
    values, slope = critic.with_slope(states, actions)
    torch.testing.assert_close(values, expected)
    torch.testing.assert_close(slope, torch.autograd.grad(expected.sum(), actions)[0], rtol=1e-4, atol=1e-6)
    assert not values.requires_grad and not slope.requires_grad
