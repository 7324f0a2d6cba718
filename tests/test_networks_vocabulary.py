"""The fused vocabulary layer against the plain one: values, first and second derivatives, and what it computes."""

from __future__ import annotations

import math

import pytest
import tiny
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from collapsebench.examples import TextSpec
from collapsebench.model.kernels import vocabulary
from collapsebench.model.kernels.vocabulary import fused_log_likelihood, plain_log_likelihood
from collapsebench.model.seeding import SeededNoise
from collapsebench.networks.decoders import LSTMDecoder
from collapsebench_plugins.skip import Skip

S, B, T, W, V = 2, 3, 4, 5, 11
PRODUCT = 2 * S * B * T * W * V


@pytest.fixture(params=[5, 24, 1000], ids="rows{}".format)
def _blocks(request, monkeypatch):
    """Blocks of some rows with a rest, of all rows, and larger than all rows."""
    monkeypatch.setattr(vocabulary, "ROWS", request.param)


def draw(dtype=torch.float64, *, bias=True, scale=1.0, size=V):
    generator = torch.Generator().manual_seed(3)
    layer = nn.Linear(W, size, bias=bias).to(dtype)
    for parameter in layer.parameters():
        drawn = scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.data.copy_(drawn)
    h = torch.randn(S, B, T, W, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    return h, layer, torch.randint(size, (B, T), generator=generator)


def weights(dtype=torch.float64):
    """What log p is weighted with: not the same for all, some negative, and differentiable."""
    return torch.linspace(-1, 2, S * B, dtype=dtype).view(S, B).requires_grad_()


def derivatives(likelihood, h, layer, tokens):
    """log p, its gradients, and the gradients of a function of its gradients."""
    g = weights(h.dtype)
    log_p = likelihood(h, layer, tokens)
    inputs = (h, *layer.parameters())
    first = torch.autograd.grad((g * log_p).sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum(d.square().sum() for d in first), (g, *inputs))
    return log_p, first, second


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_fused_equals_plain(bias, scale):
    case = draw(bias=bias, scale=scale)
    torch.testing.assert_close(
        derivatives(fused_log_likelihood, *case),
        derivatives(plain_log_likelihood, *case),
        rtol=1e-11,
        atol=1e-11 * scale**2,
    )
    with torch.no_grad():
        torch.testing.assert_close(fused_log_likelihood(*case), plain_log_likelihood(*case), rtol=1e-12, atol=0)


@pytest.mark.usefixtures("_blocks")
def test_hessian_vector_products_of_the_input_alone():
    """What SA-VAE takes: the weights' gradients enter in the second backward only."""
    h, layer, tokens = draw()
    found = []
    for likelihood in (fused_log_likelihood, plain_log_likelihood):
        (first,) = torch.autograd.grad(likelihood(h, layer, tokens).mean(), h, create_graph=True)
        found.append(torch.autograd.grad(first.pow(3).sum(), (h, *layer.parameters())))
    torch.testing.assert_close(*found, rtol=1e-11, atol=1e-14)


@pytest.mark.usefixtures("_blocks")
def test_derivatives_against_differences():
    h, layer, tokens = draw()

    def log_p(h, weight, bias):
        return torch.func.functional_call(Likelihood(layer), {"layer.weight": weight, "layer.bias": bias}, (h, tokens))

    assert torch.autograd.gradcheck(log_p, (h, layer.weight, layer.bias), fast_mode=True)
    assert torch.autograd.gradgradcheck(log_p, (h, layer.weight, layer.bias), fast_mode=True)


class Likelihood(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, h, tokens):
        return fused_log_likelihood(h, self.layer, tokens)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_float32_is_near_float64(scale):
    """Relative to the largest entry of each, over a vocabulary of 2,000 words."""
    exact = derivatives(plain_log_likelihood, *draw(scale=scale, size=2000))
    single = derivatives(fused_log_likelihood, *draw(torch.float32, scale=scale, size=2000))
    for a, b in zip(torch.utils._pytree.tree_leaves(single), torch.utils._pytree.tree_leaves(exact), strict=True):
        assert (a.double() - b).abs().max() <= 1e-5 * b.abs().max()


def test_certain_and_impossible_words():
    """Logits of ±1e4: no overflow, and the log-probability of an impossible word is what it is."""
    h, layer, tokens = draw()
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()[0] = 1e4
    for word, expected in ((0, 0.0), (1, -1e4)):
        log_p = fused_log_likelihood(h, layer, torch.full_like(tokens, word))
        torch.testing.assert_close(log_p, torch.full_like(log_p, T * expected))
        (gradient,) = torch.autograd.grad(log_p.sum(), layer.bias)
        assert gradient.isfinite().all()


def test_what_is_not_finite_stays_so():
    h, layer, tokens = draw()
    with torch.no_grad():
        layer.bias[4] = math.nan
        assert fused_log_likelihood(h, layer, tokens).isnan().all()


def test_a_graph_that_is_kept_can_be_used_again():
    h, layer, tokens = draw()
    log_p = fused_log_likelihood(h, layer, tokens).sum()
    inputs = (h, *layer.parameters())
    once = torch.autograd.grad(log_p, inputs, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(log_p, inputs), once, rtol=0, atol=0)


def flops(run):
    with FlopCounterMode(display=False) as counter:
        result = run()
    return counter.get_total_flops(), result


def test_products_are_those_that_are_asked_for():
    """The inner loops ask for the input's gradient alone; a Hessian-vector product costs four more products."""
    h, layer, tokens = draw()
    forward, log_p = flops(lambda: fused_log_likelihood(h, layer, tokens).sum())
    assert forward == PRODUCT
    assert flops(lambda: torch.autograd.grad(log_p, h, retain_graph=True))[0] == PRODUCT
    assert flops(lambda: torch.autograd.grad(log_p, layer.weight, retain_graph=True))[0] == 2 * PRODUCT
    cost, (first,) = flops(lambda: torch.autograd.grad(log_p, h, create_graph=True))
    assert cost == PRODUCT
    assert flops(lambda: torch.autograd.grad(first.sum(), (h, *layer.parameters())))[0] == 4 * PRODUCT


class Largest(TorchDispatchMode):
    """The number of elements of the largest tensor that an operation returns."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.elements = max(self.elements, result.numel())
        return result


def test_without_gradients_memory_is_bounded_by_the_block(monkeypatch):
    monkeypatch.setattr(vocabulary, "ROWS", 6)
    h, layer, tokens = draw()
    with torch.no_grad(), Largest() as largest:
        fused_log_likelihood(h, layer, tokens)
    assert largest.elements <= max(6 * V, h.numel())


def test_a_gpu_computes_in_larger_blocks():
    """Without gradients, as many rows of logits exist as a block has there."""
    h, layer = torch.zeros(1, 1, 40 * vocabulary.ROWS, 1, device="meta"), nn.Linear(1, 2, device="meta")
    with torch.no_grad(), Products() as products:
        fused_log_likelihood(h, layer, torch.zeros(1, h.shape[2], dtype=torch.long, device="meta"))
    assert products.rows == [32 * vocabulary.ROWS, 8 * vocabulary.ROWS]


class Products(TorchDispatchMode):
    """The rows of each product with a bias."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket is torch.ops.aten.addmm:
            self.rows.append(len(args[1]))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("connect", [tiny.unconnected, Skip().connect_latent], ids=["plain", "skip"])
@pytest.mark.parametrize(
    "settings", [{}, {"layers": 2, "dropout": 0.4}, {"output_bias": False, "start": "cell"}], ids=str
)
def test_a_decoder_gives_the_same_with_either(settings, connect):
    torch.manual_seed(0)
    decoder = LSTMDecoder(embedding=3, hidden=4, **settings).build(TextSpec(V), 2, connect).double()
    assert decoder.likelihood is fused_log_likelihood
    x = torch.randint(V, (B, T), generator=torch.Generator().manual_seed(1))
    z = torch.randn(S, B, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    found = []
    for likelihood in (fused_log_likelihood, plain_log_likelihood):
        decoder.likelihood = likelihood
        log_p = decoder(x, z, SeededNoise(5))
        (first,) = torch.autograd.grad(log_p.logsumexp(0).sum(), z, create_graph=True)
        second = torch.autograd.grad(first.square().sum() + log_p.sum(), (z, *decoder.parameters()))
        found.append((log_p, first, second))
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)
