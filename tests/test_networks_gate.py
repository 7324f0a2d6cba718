"""The gate against the one that is written as in the paper."""

from __future__ import annotations

import pytest
import torch

from collapsebench.model.kernels.gate import ROWS, gate


def plain(x):
    a, b = x.chunk(2, -1)
    return a.tanh() * b.sigmoid()


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def derivatives(gated, x, u):
    """The values, the gradient, and the gradient of both."""
    y = gated(x)
    (first,) = torch.autograd.grad(y.sin().sum(), x, create_graph=True)
    return y, first, *torch.autograd.grad((first * u).sum() + y.square().sum(), x)


@pytest.mark.parametrize("shape", [(1, 2), (3, 2, 2, 8), (ROWS, 2), (2, ROWS + 1, 4)], ids=str)
def test_derivatives_equal_those_of_the_library(shape):
    x, u = draw(*shape).requires_grad_(), draw(*shape, seed=1)
    torch.testing.assert_close(derivatives(gate, x, u), derivatives(plain, x, u), rtol=1e-12, atol=1e-12)


def test_derivatives_equal_finite_differences():
    x = draw(2, 3, 6).requires_grad_()
    assert torch.autograd.gradcheck(gate, x)
    assert torch.autograd.gradgradcheck(gate, x)


def test_maps_may_lie_anywhere_in_memory():
    x, u = draw(3, 4, 10, 5).permute(0, 3, 1, 2).requires_grad_(), draw(3, 5, 4, 10, seed=1)
    torch.testing.assert_close(derivatives(gate, x, u), derivatives(plain, x, u), rtol=1e-12, atol=1e-12)


def test_saturated_gates_have_no_gradient():
    x = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    y, first, second = derivatives(gate, x, torch.ones(2, 2))
    assert y.tolist() == [[0], [-1]]
    assert not first.any()
    assert not second.any()


def test_there_is_no_third_derivative():
    x = draw(2, 4).requires_grad_()
    (first,) = torch.autograd.grad(gate(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="two derivatives"):
        torch.autograd.grad(second.sum(), x)
