"""The decoder of transposed convolutions against an independent re-computation in float64, and what its pixels see."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tiny
import torch

from collapsebench.examples import ImageSpec
from collapsebench.networks.decoders import ConvDecoder
from collapsebench.networks.transposed import halved


def transposed(x, weight, bias):
    """Each pixel (i, j) of x adds its kernel at (2i - 1, 2j - 1): stride 2, one pixel cut at each border."""
    maps, height, breadth = x.shape
    full = np.zeros((weight.shape[1], 2 * height + 2, 2 * breadth + 2))
    for of, i, j in itertools.product(range(maps), range(height), range(breadth)):
        full[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += x[of, i, j] * weight[of]
    return full[:, 1:-1, 1:-1] + bias[:, None, None]


def convolved(x, weight, bias):
    """The 3 x 3 pixels around each one."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    y = np.zeros((len(weight), *x.shape[1:]))
    for i, j in itertools.product(*map(range, x.shape[1:])):
        y[:, i, j] = np.tensordot(weight, padded[:, i : i + 3, j : j + 3], 3)
    return y + bias[:, None, None]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 5), (1, 1, 2)])
def test_the_decoder_is_what_its_equations_say(shape):
    torch.manual_seed(0)
    decoder = ConvDecoder(channels=(3, 2, 4)).build(ImageSpec(shape), 2, tiny.unconnected).double()
    values = {name: value.detach().numpy() for name, value in decoder.named_parameters()}
    z = torch.randn(1, 1, 2, dtype=torch.float64)
    x, areas = torch.zeros(1, *shape, dtype=torch.float64), halved(shape[1:], 2)
    h = np.maximum(values["first.weight"] @ z[0, 0].numpy() + values["first.bias"], 0).reshape(3, *areas[0])
    for index, (height, breadth) in enumerate(areas[1:]):
        grown = transposed(h, values[f"layers.{index}.weight"], values[f"layers.{index}.bias"])
        h = np.maximum(grown[:, :height, :breadth], 0)
    logits = convolved(h, values["output.weight"], values["output.bias"])
    expected = 1 / (1 + np.exp(-logits.ravel()))
    torch.testing.assert_close(decoder.predictions(x, z)[0, 0, :, 0], torch.from_numpy(expected), rtol=1e-12, atol=0)


def test_areas_are_halved_upwards():
    assert halved((28, 28), 2) == [(7, 7), (14, 14), (28, 28)]
    assert halved((5, 9), 2) == [(2, 3), (3, 5), (5, 9)]
    assert halved((1, 2), 1) == [(1, 1), (1, 2)]


def test_no_pixel_sees_another():
    """What is predicted depends on z alone."""
    decoder = ConvDecoder(channels=(3, 2)).build(ImageSpec((1, 3, 4)), 2, tiny.unconnected).double()
    z = torch.randn(1, 2, 2, dtype=torch.float64)
    x = torch.randint(2, (2, 1, 3, 4)).double()
    assert torch.equal(decoder.predictions(x, z), decoder.predictions(1 - x, z))
    torch.testing.assert_close(decoder.score(decoder.predictions(x, z), x), decoder(x, z))
