"""The convolution against the library's, and the gated layer against the one that is written as in the paper."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import conv2d, pad
from torch.utils.flop_counter import FlopCounterMode

from collapsebench.networks.connections import ConcatenateMap
from collapsebench.networks.convolution import convolution
from collapsebench.networks.pixelcnn import GatedLayer, maps_first, maps_last

FORMATS = [torch.contiguous_format, torch.channels_last]


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def case(memory_format=torch.contiguous_format):
    x = draw(2, 3, 5, 4).contiguous(memory_format=memory_format)
    weight, bias = draw(6, 3, 2, 3, seed=1), draw(6, seed=2)
    return tuple(t.requires_grad_() for t in (x, weight, bias))


def derivatives(convolve, inputs):
    """The values and their first three derivatives."""
    values = [convolve(*inputs, padding=(1, 1))]
    for _ in range(3):
        total = sum(value.pow(3).sum() for value in values[-1:]) if len(values) == 1 else values[-1]
        found = torch.autograd.grad(total, inputs, create_graph=True)
        values += [*found, sum(gradient.square().sum() for gradient in found)]
    return values


@pytest.mark.parametrize("memory_format", FORMATS, ids=str)
def test_derivatives_equal_those_of_the_library(memory_format):
    inputs = case(memory_format)
    torch.testing.assert_close(derivatives(convolution, inputs), derivatives(conv2d, inputs), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("memory_format", FORMATS, ids=str)
def test_maps_stay_where_they_are_in_memory(memory_format):
    x, weight, bias = (t.detach().float().requires_grad_() for t in case(memory_format))
    y = convolution(x, weight, bias, (1, 1))
    (gradient,) = torch.autograd.grad(y, x, torch.ones_like(y))
    assert all(t.is_contiguous(memory_format=memory_format) for t in (y, gradient))
    joined = ConcatenateMap(3, 2, (5, 4))(x, draw(2, 2).float())
    assert joined.is_contiguous(memory_format=memory_format)


def test_second_derivatives_cost_as_many_convolutions_as_there_are():
    x, weight, bias = case()

    def flops(run):
        with FlopCounterMode(display=False) as counter:
            result = run()
        return counter.get_total_flops(), result

    unit, y = flops(lambda: convolution(x, weight, bias, (1, 1)))
    cost, (first,) = flops(lambda: torch.autograd.grad(y.pow(2).sum(), x, create_graph=True))
    assert cost == unit
    assert flops(lambda: torch.autograd.grad(first.sum(), (x, weight)))[0] == 4 * unit


def plain(layer, v, h):
    """The layer by the library's convolutions alone; v and h (N, C, H, W)."""

    def gate(x):
        a, b = x.chunk(2, 1)
        return a.tanh() * b.sigmoid()

    p = layer.padding
    above = pad(layer.vertical(pad(v, (p, p, p, 0))), (0, 0, 1, -1))
    left = layer.horizontal(pad(h, (p, 0)))
    if layer.residual is None:
        return gate(above), layer.output(gate(pad(left, (1, -1)) + layer.link(above)))
    return gate(above), layer.output(gate(left + layer.link(above))) + layer.residual(h)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("kernel_size", "area"), [(1, (3, 4)), (3, (5, 4)), (5, (4, 6)), (7, (2, 2)), (3, (1, 1))])
def test_gated_layer_equals_the_plain_one(first, kernel_size, area):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer = GatedLayer(3, 2, kernel_size, first=first).double()
    v, h = (draw(2, 3, *area, seed=seed).requires_grad_() for seed in (1, 2))
    found = []
    for run in (plain, lambda layer, v, h: tuple(map(maps_first, layer(maps_last(v), maps_last(h))))):
        stacks = run(layer, v, h)
        inputs = (v, h, *layer.parameters())
        gradients = torch.autograd.grad(sum(s.sin().sum() for s in stacks), inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in gradients), inputs, allow_unused=True)
        found.append((stacks, gradients, second))
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)
