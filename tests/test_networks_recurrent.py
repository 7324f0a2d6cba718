"""The switches of recurrent layers and of attention. What cuDNN would do is told by the flags that it reads."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from collapsebench.data.splits import TextSplit
from collapsebench.metrics.evaluation import EvaluatedSplit
from collapsebench.model.distributions import DiagonalGaussian, StandardNormal
from collapsebench.model.kernels.recurrent import differentiable_rnns, twice_differentiable, unfused_rnns
from collapsebench.model.seeding import SeededNoise
from collapsebench.model.vae import VAE, Networks, Objective
from collapsebench_plugins.sa_vae import SVI

KINDS = [nn.LSTM, nn.GRU, nn.RNN]
D = 4


@pytest.fixture(autouse=True)
def _cudnn():
    allowed = torch.backends.cudnn.enabled
    yield
    assert torch.backends.cudnn.enabled == allowed


def watched(layer):
    """What cuDNN is allowed to do in each forward of a layer from now on, and whether the layer trains."""
    seen = []
    forward = layer.forward

    def note(*arguments):
        seen.append((torch.backends.cudnn.enabled, layer.training))
        return forward(*arguments)

    layer.forward = note
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_fused_within_the_layer_alone(kind):
    layer = kind(2, 3)
    seen = watched(layer)
    with unfused_rnns(layer):
        layer(torch.zeros(5, 1, 2))
        assert torch.backends.cudnn.enabled
        with pytest.raises(RuntimeError):
            layer(torch.zeros(5, 1, 7))
        assert torch.backends.cudnn.enabled
    layer(torch.zeros(5, 1, 2))
    assert [allowed for allowed, _ in seen] == [False, False, True]


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_on_a_device_is_differentiated_as_in_training(kind):
    """Without dropout the modes compute the same; with dropout cuDNN must not be used."""
    plain, dropping = kind(2, 3, device="meta").eval(), kind(2, 3, num_layers=2, dropout=0.5, device="meta").eval()
    model = nn.ModuleList([plain, dropping])
    seen = [watched(layer) for layer in model]
    x = torch.zeros(5, 1, 2, device="meta")
    with differentiable_rnns(model):
        for layer in model:
            layer(x)
    for layer in model:
        layer(x)
    assert seen == [[(True, True), (True, False)], [(False, False), (True, False)]]


def test_on_the_cpu_no_layer_changes_its_mode():
    layer = nn.LSTM(2, 3).eval()
    seen = watched(layer)
    with differentiable_rnns(layer):
        layer(torch.zeros(5, 1, 2))
    assert seen == [(True, False)]


def test_a_strategy_that_refines_is_evaluated_with_layers_that_have_derivatives(monkeypatch):
    vae, seen = tiny.vae("lstm", [SVI(steps=2)]), []
    monkeypatch.setattr("collapsebench.model.kernels.recurrent._apart", lambda layer: True)
    vae.decoder.layers[0].register_forward_pre_hook(lambda layer, _: seen.append(layer.training))
    x = tiny.examples("lstm").int()
    documents = TextSplit(x.flatten().numpy(), lengths=np.full(len(x), x.shape[1], np.int32))
    split = EvaluatedSplit(vae, SVI(steps=2), documents, SeededNoise(0), 2, torch.device("cpu"))
    assert split.posterior.mean.isfinite().all()
    assert set(seen) == {True}
    seen.clear()
    assert split.reconstruction.isfinite().all()
    assert set(seen) == {False}


class Attentive(nn.Module):
    """A decoder with attention between the units of z."""

    def __init__(self):
        super().__init__()
        self.output = nn.Linear(1, 2)

    def forward(self, x, z, dropout):
        read = scaled_dot_product_attention(z[..., None], z[..., None], z[..., None])
        return self.output(read).sum((-1, -2)).tanh() * x.sum(-1)


def test_attention_can_be_differentiated_twice():
    vae = VAE(Networks(None, None, Attentive()), StandardNormal(D))
    q = DiagonalGaussian(torch.randn(3, D, requires_grad=True), torch.zeros(3, D))
    gradient = Objective(SeededNoise(0)).gradient(vae, torch.ones(3, 2), q, SeededNoise(1), create_graph=True)
    gradient.posterior.square().sum().backward()
    assert q.mean.grad.abs().sum() > 0


def test_attention_without_a_second_derivative_may_be_fused():
    q = torch.randn(1, 2, 3, 4, requires_grad=True)
    fused = scaled_dot_product_attention(q, q, q)
    with twice_differentiable(nn.Identity()):
        plain = scaled_dot_product_attention(q, q, q)
    assert torch.allclose(fused, plain, atol=1e-6)
    assert fused.grad_fn.name() != plain.grad_fn.name()
