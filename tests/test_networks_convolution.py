"""The masked convolutions against the library's; the gated layer against the one that is written as in the paper."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import conv1d, conv2d, pad
from torch.utils.flop_counter import FlopCounterMode

from collapsebench.model.kernels.convolution import convolve_above, convolve_before, maps_first, maps_last
from collapsebench.networks.connections import ConcatenateMap
from collapsebench.networks.pixelcnn import GatedLayer

FORMATS = [torch.contiguous_format, torch.channels_last]
AREAS = [(5, 4), (1, 3), (3, 1), (1, 1)]


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def leaves(*shapes):
    return [draw(*shape, seed=seed).requires_grad_() for seed, shape in enumerate(shapes)]


def plain_above(x, weight, bias):
    rows, columns = weight.shape[2:]
    y = conv2d(pad(maps_first(x), (columns // 2, columns // 2, rows, -1)), weight, bias)
    return maps_last(pad(y[:, :, 1:], (0, 0, 1, 0)))


def plain_before(*terms, bias):
    def row(x, weight):
        y = conv1d(pad(x.flatten(0, 1).transpose(1, 2), (weight.shape[2] - 1, 0)), weight)
        return y.transpose(1, 2).unflatten(0, x.shape[:2])

    return sum(row(x, weight) for x, weight in terms) + bias


def two_terms(convolve):
    """Of one kernel of three columns, and one of a single column."""
    return lambda x, weight, z, matrix, bias: convolve((x, weight), (z, matrix), bias=bias)


def derivatives(convolve, inputs):
    """The values and their first three derivatives."""
    values = [convolve(*inputs)]
    for _ in range(3):
        total = values[-1].pow(3).sum() if len(values) == 1 else values[-1]
        found = torch.autograd.grad(total, inputs, create_graph=True)
        values += [*found, sum(gradient.square().sum() for gradient in found)]
    return values


@pytest.mark.parametrize("kernel", [(2, 3), (3, 5), (1, 1)], ids=str)
@pytest.mark.parametrize("area", AREAS, ids=str)
def test_rows_above(area, kernel):
    inputs = leaves((2, *area, 3), (6, 3, *kernel), (6,))
    found = derivatives(convolve_above, inputs)
    torch.testing.assert_close(found, derivatives(plain_above, inputs), rtol=1e-10, atol=1e-10)
    assert not found[0][:, 0].any()


@pytest.mark.parametrize("area", AREAS, ids=str)
def test_pixels_before(area):
    inputs = leaves((2, *area, 3), (6, 3, 3), (2, *area, 2), (6, 2, 1), (6,))
    found = derivatives(two_terms(convolve_before), inputs)
    torch.testing.assert_close(found, derivatives(two_terms(plain_before), inputs), rtol=1e-10, atol=1e-10)


def test_a_pixel_that_is_not_finite_spoils_no_other_row():
    x, weight, bias = leaves((1, 3, 2, 3), (6, 3, 2), (6,))
    with torch.no_grad():
        x[0, 1] = torch.inf
    finite = convolve_before((x, weight), bias=bias).isfinite().all(-1)
    assert finite.tolist() == [[[True, True], [False, False], [True, True]]]


@pytest.mark.parametrize("memory_format", FORMATS, ids=str)
def test_maps_stay_where_they_are_in_memory(memory_format):
    x = maps_first(draw(2, 5, 4, 3)).contiguous(memory_format=memory_format)
    assert ConcatenateMap(3, 2, (5, 4)).double()(x, draw(2, 2)).is_contiguous(memory_format=memory_format)


def test_maps_come_last_in_memory():
    x, weight, bias = (t.detach().float().requires_grad_() for t in leaves((2, 5, 4, 3), (6, 3, 2, 3), (6,)))
    y = convolve_above(x, weight, bias)
    (gradient,) = torch.autograd.grad(y, x, torch.ones_like(y))
    assert y.is_contiguous()
    assert gradient.is_contiguous()


def flops(run):
    with FlopCounterMode(display=False) as counter:
        result = run()
    return counter.get_total_flops(), result


def test_second_derivatives_cost_as_many_convolutions_as_there_are():
    x, weight, bias = leaves((2, 5, 4, 3), (6, 3, 2, 3), (6,))
    unit, y = flops(lambda: convolve_above(x, weight, bias))
    cost, (first,) = flops(lambda: torch.autograd.grad(y.pow(2).sum(), x, create_graph=True))
    assert cost == unit
    assert flops(lambda: torch.autograd.grad(first.sum(), (x, weight)))[0] == 4 * unit


def test_products_are_those_that_are_asked_for():
    x, weight, z, matrix, bias = leaves((2, 5, 4, 3), (6, 3, 1), (2, 5, 4, 2), (6, 2, 1), (6,))
    unit = {size: 2 * 2 * 5 * 4 * 6 * size for size in (3, 2)}
    total, y = flops(lambda: convolve_before((x, weight), (z, matrix), bias=bias))
    assert total == unit[3] + unit[2]
    for wanted, cost in (
        (x, unit[3]),
        (weight, unit[3]),
        (matrix, unit[2]),
        (bias, 0),
        ((x, z, matrix), unit[3] + 2 * unit[2]),
    ):
        assert flops(lambda wanted=wanted: torch.autograd.grad(y.sum(), wanted, retain_graph=True))[0] == cost


def plain(layer, v, h):
    """The layer by the library's convolutions alone; v and h (N, C, H, W)."""

    def gate(x):
        a, b = x.chunk(2, 1)
        return a.tanh() * b.sigmoid()

    p = layer.vertical.weight.shape[2] - 1
    reached = pad(layer.vertical(pad(v, (p, p, p, 0))), (0, 0, 1, -1))
    left = layer.horizontal(pad(h, (p, 0)))
    if layer.residual is None:
        return gate(reached), layer.output(gate(pad(left, (1, -1)) + layer.link(reached)))
    return gate(reached), layer.output(gate(left + layer.link(reached))) + layer.residual(h)


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
