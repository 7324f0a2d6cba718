"""FLOPs against what the formulas of the networks imply, for every network and every inference strategy."""

from __future__ import annotations

import contextlib
import json
import warnings
from itertools import product
from math import prod
from typing import NamedTuple

import pytest
import torch
import toys
from torch import nn
from torch.autograd import grad

from collapsebench.components import composition
from collapsebench.examples import ImageSpec, TextSpec, VectorSpec
from collapsebench.experiment.arrears import Arrears
from collapsebench.experiment.assembly import Architecture, assemble
from collapsebench.experiment.flops import CostTable, FlopCounter, StepCost, Trace
from collapsebench.experiment.formulas import cudnn_rnn, cudnn_rnn_backward, treatment
from collapsebench.experiment.meter import Meter
from collapsebench.inference.amortized import Amortized
from collapsebench.model.kernels.recurrent import twice_differentiable, unfused_rnns
from collapsebench.model.seeding import SeededNoise
from collapsebench.model.vae import Objective
from collapsebench.networks.decoders import (
    ConvDecoder,
    LinearDecoder,
    LSTMDecoder,
    MLPDecoder,
    PixelCNNDecoder,
    TransformerDecoder,
)
from collapsebench.networks.encoders import (
    GRUEncoder,
    LinearEncoder,
    LSTMEncoder,
    MLPEncoder,
    ResNetEncoder,
    TransformerEncoder,
)
from collapsebench.networks.initializations import LibraryDefault
from collapsebench.networks.posteriors import GaussianPosterior
from collapsebench.spec import Budget
from collapsebench.store import Store
from collapsebench_plugins.no_latent import NoLatent
from collapsebench_plugins.sa_vae import HVP, SAVAE, SVI, VAESVI, EncoderLoss
from collapsebench_plugins.skip import Skip

B, D, K = 3, 4, 3
T, V, E, H = 6, 40, 8, 16
SIDE, M, F, P = 8, 4, 12, 10
TEXT, IMAGE, VECTOR = TextSpec(V), ImageSpec((1, SIDE, SIDE)), VectorSpec(P)


class Product(NamedTuple):
    """One matrix product or convolution y = Wa of a network."""

    flops: int
    reads: str = "hidden"
    """What a is: hidden units, z, or data, which have no gradient."""
    recurrent: float = 1.0
    """The share of its time steps whose gradient goes on to the step before."""


class Attention(NamedTuple):
    """The two products QK' and PV of fused attention, each of so many FLOPs."""

    flops: int


class Costs(NamedTuple):
    """Of one network: forward; gradients by what it reads, without and with those of z, and by weights; twice."""

    forward: float
    by_hidden: float
    by_input: float
    by_weights: float
    second: float
    once_more: float
    """What the backward of fused attention computes once more. Attention in plain products does not."""


def costs(products) -> Costs:
    """Each product is computed once forward, once for the gradient of a, and once for the gradient of W.

    A gradient by a alone is a product of its own, which the second derivatives take once by each of its two factors.
    Fused attention computes QK' once more, and the gradients by P, Q, K and V, whichever is asked for. Where it is
    differentiated twice nothing is fused: both products have two gradients, and each gradient has two.
    """
    attended = sum(p.flops for p in products if isinstance(p, Attention))
    products = [p for p in products if isinstance(p, Product)]
    forward = sum(p.flops for p in products)
    by_hidden = sum(p.flops * p.recurrent for p in products if p.reads == "hidden")
    by_input = sum(p.flops * p.recurrent for p in products if p.reads != "data")
    return Costs(
        forward + 2 * attended,
        by_hidden + 5 * attended,
        by_input + 5 * attended,
        forward,
        3 * by_input + forward + 12 * attended,
        attended,
    )


def linear(rows, inputs, outputs, reads="hidden"):
    return Product(2 * rows * inputs * outputs, reads)


def recurrent(gates, inputs, hidden, steps, *, first_state=False):
    """Both products of a recurrent layer; only a first state that depends on something has a gradient."""
    share = 1.0 if first_state else (steps - 1) / steps
    by_state = Product(2 * B * steps * hidden * gates * hidden, recurrent=share)
    return [linear(B * steps, inputs, gates * hidden), by_state]


def lstm(inputs, hidden, steps, *, first_state=False):
    return recurrent(4, inputs, hidden, steps, first_state=first_state)


def conv(inputs, outputs, kernel, area, reads="hidden"):
    return Product(2 * B * area * inputs * outputs * kernel, reads)


def mlp_decoder(d, *, skip):
    first = [linear(B, d, H, "z")] if d else []
    skips = [linear(B, d, H, "z")] * 2 * skip
    return [*first, linear(B, H, H, "hidden" if d else "data"), linear(B, H, H), *skips, linear(B, H, SIDE**2)]


def lstm_decoder(d, *, skip, layers):
    top = E if layers == 1 else H
    below = [] if layers == 1 else lstm(E + d, H, T)
    inputs = top + d if layers == 1 else top + d * skip
    first = [linear(B, d, H, "z")] if d else []
    return [*below, *first, *lstm(inputs, H, T, first_state=bool(d)), linear(B * T, H + d * skip, V)]


def transformer_layer(inputs, steps, memory=0, reading=None):
    """All positions are keys and values. The first ones read, or all."""
    rows = B * (reading or steps)
    maps = [linear(B * steps, inputs, 3 * H), linear(rows, H, H)]
    between = [linear(rows, H, F), linear(rows, F, H)]
    return [*maps, Attention(2 * rows * (steps + memory) * H), *between]


def transformer_decoder(d, *, skip):
    of_z = [linear(B, d, H, "z")] * 3 if d else []  # the embedding, and the memory of two layers
    layers = [*transformer_layer(H, T, bool(d)), *transformer_layer(H + d * skip, T, bool(d))]
    return [*of_z, *layers, linear(B * T, H + d * skip, V)]


def pixelcnn_decoder(d, *, skip):
    area, kernel = SIDE**2, 3
    a_map = linear(B, d, area, "z")
    first = "hidden" if d else "data"
    products = [a_map] if d else []
    width = 1 + bool(d)
    for index in range(2):
        reads = first if index == 0 else "hidden"
        products += [conv(width, 2 * M, 2 * kernel, area, reads), conv(width, 2 * M, 2, area, reads)]
        products += [conv(2 * M, 2 * M, 1, area), conv(M, M, 1, area)]
        products += [conv(width, M, 1, area)] if index else []
        products += [a_map] * (2 if index == 0 else 1) * skip
        width = M + skip
    return [*products, conv(width, 1, 1, area)]


def resnet_encoder():
    area, quarter = SIDE**2, SIDE**2 // 4
    blocks = [conv(1, M, 9, area, "data"), conv(M, M, 9, area), conv(1, M, 1, area, "data"), conv(M, M, 4, quarter)]
    smaller = [conv(M, F, 9, quarter), conv(F, F, 9, quarter), conv(M, F, 1, quarter), conv(F, F, 4, quarter // 4)]
    return [*blocks, *smaller]


def conv_decoder(d, *, skip):
    """Each pixel of the smaller area goes to 4 x 4 of the larger one."""
    quarter, area = SIDE**2 // 4, SIDE**2
    first = [linear(B, d, M * quarter, "z")] if d else []
    maps = [linear(B, d, quarter, "z"), linear(B, d, area, "z")] * skip
    enlarging = conv(M + skip, F, 16, quarter, "hidden" if d else "data")
    return [*first, *maps, enlarging, conv(F + skip, 1, 9, area)]


ENCODERS = {
    "mlp": (MLPEncoder(hidden=H), IMAGE, [linear(B, SIDE**2, H, "data"), linear(B, H, H)], H),
    "resnet": (ResNetEncoder(channels=(M, F)), IMAGE, resnet_encoder(), F * (SIDE // 4) ** 2),
    "lstm": (LSTMEncoder(embedding=E, hidden=H), TEXT, lstm(E, H, T + 1), H),
    "gru": (GRUEncoder(embedding=E, hidden=H), TEXT, recurrent(3, E, H, T + 1), H),
    "transformer": (
        TransformerEncoder(width=H, heads=2, feed_forward=F, positions=T + 1),
        TEXT,
        [*transformer_layer(H, T + 1), *transformer_layer(H, T + 1, reading=1)],
        H,
    ),
    "linear": (LinearEncoder(), VECTOR, [], P),
}
"""By name: the encoder, what it reads, its products, the number of its features."""


def posterior(features, encoder):
    return [linear(B, features, D, "hidden" if encoder else "data")] * 2


TEXT_DECODERS = {
    "lstm": (LSTMDecoder(embedding=E, hidden=H, dropout=0.3), 1),
    "lstm-cell": (LSTMDecoder(embedding=E, hidden=H, start="cell", output_bias=False), 1),
    "lstm-2": (LSTMDecoder(embedding=E, hidden=H, layers=2), 2),
}
DECODERS = {
    "mlp": (MLPDecoder(hidden=H), "mlp", mlp_decoder),
    "conv": (ConvDecoder(channels=(M, F)), "resnet", conv_decoder),
    "pixelcnn": (PixelCNNDecoder(layers=2, maps=M), "resnet", pixelcnn_decoder),
    "transformer": (
        TransformerDecoder(width=H, heads=2, feed_forward=F, positions=T),
        "transformer",
        transformer_decoder,
    ),
    "linear": (LinearDecoder(), "linear", lambda d, *, skip: [linear(B, d, P, "z")] if d else []),
} | {
    name: (decoder, "lstm", lambda d, *, skip, layers=layers: lstm_decoder(d, skip=skip, layers=layers))
    for name, (decoder, layers) in TEXT_DECODERS.items()
}
"""By name: the decoder, its encoder, its products."""


def model(name, *methods):
    decoder, encoder, _ = DECODERS[name]
    hooks = composition.compose(methods)
    used = ENCODERS[encoder][0] if composition.inference_of(hooks, Amortized()).uses_encoder else None
    architecture = Architecture(D, used, GaussianPosterior(), decoder, LibraryDefault())
    return assemble(architecture, ENCODERS[encoder][1], hooks, seed=1)


def data(spec):
    generator = torch.Generator().manual_seed(0)
    if isinstance(spec, TextSpec):
        return torch.randint(spec.vocabulary, (B, T + 1), generator=generator)
    if isinstance(spec, ImageSpec):
        return torch.randint(2, (B, *spec.shape), generator=generator).float()
    return torch.randn(B, spec.dimension, generator=generator)


def counted(work):
    with FlopCounter() as counter:
        work()
    return counter.flops


@pytest.fixture(params=[True, False], ids=["onednn", "plain"])
def onednn(request):
    """Whether torch may use oneDNN, whose LSTM is one operation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of GPUs that this torch is not built for
        with torch.backends.mkldnn.flags(enabled=request.param):
            yield


@pytest.mark.usefixtures("onednn")
@pytest.mark.parametrize("name", ENCODERS)
def test_encoders(name):
    component, spec, products, width = ENCODERS[name]
    encoder, head = component.build(spec), GaussianPosterior().build(width, D)
    expected = costs([*products, *posterior(width, products)])
    outputs = []
    assert counted(lambda: outputs.append(head(encoder(data(spec))))) == pytest.approx(expected.forward, rel=0.01)
    backward = counted(outputs[0].parameters.sum().backward)
    assert backward == pytest.approx(expected.by_hidden + expected.by_weights, rel=0.01)


@pytest.mark.usefixtures("onednn")
@pytest.mark.parametrize("skip", [False, True], ids=["", "skip"])
@pytest.mark.parametrize("name", DECODERS)
def test_decoders(name, skip):
    """Forward; backward by z alone, by the weights alone, by both; and the double backward of the gradient by z."""
    vae, x = model(name, *[Skip()] * skip), data(ENCODERS[DECODERS[name][1]][1])
    expected = costs(DECODERS[name][2](D, skip=skip))
    z, weights = torch.randn(1, B, D, requires_grad=True), tuple(vae.decoder.parameters())

    def loss(of_z):
        return vae.log_likelihood(x, of_z).sum()

    def gradient(wanted, of_z=z):
        found = []
        forward = counted(lambda: found.append(loss(of_z)))
        assert forward == pytest.approx(expected.forward, rel=0.01)
        return counted(lambda: grad(found[0], wanted))

    assert gradient(z) == pytest.approx(expected.by_input, rel=0.01)
    assert gradient(weights, z.detach()) == pytest.approx(expected.by_hidden + expected.by_weights, rel=0.01)
    assert gradient((z, *weights)) == pytest.approx(expected.by_input + expected.by_weights, rel=0.01)
    with twice_differentiable(vae):
        (first,) = grad(loss(z), z, create_graph=True)
    second = counted(lambda: grad(first.square().sum(), (z, *weights), allow_unused=True))
    assert second == pytest.approx(expected.second, rel=0.01)


def tensor(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def positive(n):
    return tensor(n, n) @ tensor(n, n).T + n * torch.eye(n)


N, R = 12, 5
CUBE = N**3
ATTENTION = tensor(2, 3, 7, 4), tensor(2, 3, 5, 4), tensor(2, 3, 5, 4)
SPARSE = torch.tensor([[0.0, 2, 0], [1, 0, 3]], dtype=torch.float64).to_sparse()

OPERATIONS = {
    "mv": (lambda: tensor(4, 3) @ tensor(3), 2 * 4 * 3),
    "dot": (lambda: torch.dot(tensor(9), tensor(9)), 2 * 9),
    "vdot": (lambda: torch.vdot(tensor(9), tensor(9)), 2 * 9),
    "addmv": (lambda: torch.addmv(tensor(4), tensor(4, 3), tensor(3)), 2 * 4 * 3),
    "addr": (lambda: torch.addr(tensor(4, 3), tensor(4), tensor(3)), 2 * 4 * 3),
    "outer": (lambda: torch.outer(tensor(4), tensor(3)), 0),
    "in place": (lambda: tensor(4, 5).addmm_(tensor(4, 3), tensor(3, 5)), 2 * 4 * 3 * 5),
    "out": (lambda: torch.mm(tensor(4, 3), tensor(3, 5), out=tensor(4, 5)), 2 * 4 * 3 * 5),
    "addbmm": (lambda: torch.addbmm(tensor(4, 5), tensor(2, 4, 3), tensor(2, 3, 5)), 2 * 2 * 4 * 3 * 5),
    "einsum": (lambda: torch.einsum("bij,bjk->bik", tensor(2, 4, 3), tensor(2, 3, 5)), 2 * 2 * 4 * 3 * 5),
    "bilinear": (
        lambda: torch.nn.functional.bilinear(tensor(2, 3), tensor(2, 4), tensor(5, 3, 4)),
        3 * 2 * 3 * 4 * 5,
    ),
    "cholesky": (lambda: torch.linalg.cholesky(positive(N)), CUBE // 3),
    "lu": (lambda: torch.linalg.lu_factor(positive(N)), 2 * CUBE // 3),
    "det": (lambda: torch.linalg.det(positive(N)), 2 * CUBE // 3),
    "slogdet": (lambda: torch.linalg.slogdet(positive(N)), 2 * CUBE // 3),
    "inv": (lambda: torch.linalg.inv(positive(N)), 2 * CUBE),
    "solve": (lambda: torch.linalg.solve(positive(N), tensor(N, R)), 2 * CUBE // 3 + 2 * N * N * R),
    "solve a vector": (lambda: torch.linalg.solve(positive(N), tensor(N)), 2 * CUBE // 3 + 2 * N * N),
    "triangular": (lambda: torch.linalg.solve_triangular(positive(N), tensor(N, R), upper=True), N * N * R),
    "cholesky_solve": (lambda: torch.cholesky_solve(tensor(N, R), positive(N)), 2 * N * N * R),
    "cholesky_inverse": (lambda: torch.cholesky_inverse(positive(N)), 2 * CUBE // 3),
    "qr": (lambda: torch.linalg.qr(positive(N)), 8 * CUBE // 3),
    "qr, tall": (lambda: torch.linalg.qr(tensor(30, 6)), 4 * 30 * 36 - 4 * 216 // 3),
    "qr, r alone": (lambda: torch.linalg.qr(positive(N), mode="r"), 4 * CUBE // 3),
    "lstsq": (lambda: torch.linalg.lstsq(tensor(30, 6), tensor(30, 2)), 2 * 30 * 36 - 144 + 2 * (4 * 30 * 6 - 36)),
    "eigh": (lambda: torch.linalg.eigh(positive(N)), 9 * CUBE),
    "eigvalsh": (lambda: torch.linalg.eigvalsh(positive(N)), 9 * CUBE),
    "eig": (lambda: torch.linalg.eig(positive(N)), 25 * CUBE),
    "eigvals": (lambda: torch.linalg.eigvals(positive(N)), 25 * CUBE),
    "svd": (lambda: torch.linalg.svd(positive(N), full_matrices=False), 22 * CUBE),
    "svdvals": (lambda: torch.linalg.svdvals(positive(N)), 22 * CUBE),
    "matrix_exp": (lambda: torch.linalg.matrix_exp(positive(N)), 16 * CUBE),
    "a batch": (lambda: torch.linalg.cholesky(positive(N).expand(3, N, N)), CUBE),
    "sparse": (lambda: torch.sparse.mm(SPARSE, tensor(3, 7)), 2 * 3 * 7),
    "sparse, added": (lambda: torch.sparse.addmm(tensor(2, 7), SPARSE, tensor(3, 7)), 2 * 3 * 7),
    "sparse and a vector": (lambda: SPARSE @ tensor(3), 2 * 3),
    "cdist": (lambda: torch.cdist(tensor(4, 3), tensor(6, 3), p=1.0), 2 * 4 * 6 * 3),
    "cdist by products": (lambda: torch.cdist(tensor(40, 3), tensor(60, 3)), 2 * 40 * 60 * 3),
    "pdist": (lambda: torch.pdist(tensor(4, 3)), 2 * 6 * 3),
    "attention": (lambda: torch.nn.functional.scaled_dot_product_attention(*ATTENTION), 2 * 2 * 6 * 7 * 5 * 4),
    "fft": (lambda: torch.fft.fft(tensor(3, 16).to(torch.complex128)), 5 * 3 * 16 * 4),
    "rfft": (lambda: torch.fft.rfft(tensor(3, 16)), 5 * 3 * 16 * 4 // 2),
    "irfft": (lambda: torch.fft.irfft(torch.fft.rfft(tensor(3, 16))), 5 * 3 * 16 * 4),
    "gru": (lambda: torch.nn.GRU(3, 4).double()(tensor(5, 2, 3)), 2 * 5 * 2 * (12 * 3 + 12 * 4)),
    "elementwise": (lambda: (tensor(9).exp() * 2).cumsum(0).sort().values.softmax(0)[tensor(9).argsort()], 0),
}
"""By name: an operation in the public form, and its FLOPs by the textbook."""


@pytest.mark.parametrize("inference", [False, True], ids=["", "inference"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(name, inference):
    """In inference mode, torch shows operations whole that it otherwise shows in parts."""
    work, expected = OPERATIONS[name]
    needed = counted(lambda: [positive(N), SPARSE]) if "positive" in work.__code__.co_names else 0
    with torch.inference_mode(inference), FlopCounter() as counter:
        work()
    assert counter.flops - needed == expected
    assert counter.uncounted == set()


def test_the_backward_of_attention_costs_what_its_five_products_do():
    leaves = [each.clone().requires_grad_() for each in ATTENTION]
    out = torch.nn.functional.scaled_dot_product_attention(*leaves)
    assert counted(out.sum().backward) == 5 * 2 * 6 * 7 * 5 * 4


def test_a_fused_transformer_layer_costs_what_its_parts_do():
    """Torch fuses it where nothing requires a gradient; with gradients its parts are seen."""
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).eval()
    x = torch.randn(3, 5, 8)
    parts = counted(lambda: layer(x))
    with torch.no_grad():
        assert counted(lambda: layer(x)) == parts == 2 * 15 * (4 * 64 + 2 * 128) + 4 * 3 * 25 * 8


@pytest.mark.parametrize("layers", [{}, {"num_layers": 2}, {"num_layers": 2, "bidirectional": True}, {"bias": False}])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("wanted", list(product([True, False], repeat=3)))
def test_the_recurrent_kernels_of_cudnn_cost_what_plain_ones_do(kind, layers, wanted):
    """Forward, and backward by the input, the first states and the weights, or by some of them."""
    layer = kind(E, H, batch_first=True, **layers)
    directions = 2 if layers.get("bidirectional") else 1
    x, first = torch.randn(B, T, E), torch.zeros(directions * layer.num_layers, B, H)
    x.requires_grad_(wanted[0])
    first.requires_grad_(wanted[1])
    layer.requires_grad_(wanted[2])
    state, found = (first, torch.zeros_like(first)) if kind is nn.LSTM else first, []
    with unfused_rnns(layer):
        forward = counted(lambda: found.append(layer(x, state)[0]))
    backward = counted(found[0].sum().backward) if any(wanted) else 0
    weights, stride = [each.detach() for each in layer.parameters()], 4 if layer.bias else 2
    mask = [wanted[0], wanted[1], wanted[1], wanted[2]]
    sizes = (None, None, None, None, None, 2, H, 0, layer.num_layers, True, 0.0, True, directions == 2, [], None, None)
    assert cudnn_rnn(x, weights, stride, None, first, None) == forward
    if any(wanted):
        assert cudnn_rnn_backward(x, weights, stride, None, first, *sizes, mask) == backward


def test_fused_attention_has_a_formula_on_every_device():
    """Whatever library computes it, forward and backward are counted."""
    names = {name.partition(".")[0].removeprefix("aten::") for name in torch._C._dispatch_get_all_op_names()}
    fused = [name for name in names if name.startswith("_scaled_dot_product") and "attention_math" not in name]
    operations = [getattr(torch.ops.aten, name).default for name in fused]
    assert len(operations) >= 8
    assert all(treatment(operation).formula for operation in operations)


def test_operations_of_other_libraries_are_named():
    with torch.library._scoped_library("strange", "DEF") as library:
        library.define("twice(Tensor x) -> Tensor")
        library.impl("twice", lambda x: 2 * x, "CPU")
        with FlopCounter() as counter:
            torch.ops.strange.twice(tensor(3))
    assert counter.uncounted == {"strange::twice"}


def strategies(d: Costs, e: Costs):
    """The work of a step, term by term. The last gradient by z is not needed where the posterior is held fixed."""
    encoder = e.forward + e.by_hidden + e.by_weights
    inner, full = d.forward + d.by_input, d.forward + d.by_input + d.by_weights
    fixed = d.forward + d.by_hidden + d.by_weights
    return {
        "amortized": (Amortized(), encoder + full),
        "svi": (SVI(steps=K), K * inner + fixed),
        "vae-svi": (VAESVI(steps=K), encoder + K * inner + fixed + inner),
        "vae-svi-kl": (VAESVI(steps=K, encoder_loss=EncoderLoss.KL), encoder + K * inner + fixed),
        "sa-vae": (SAVAE(steps=K), encoder + K * (inner - d.once_more + d.second) + full),
        "sa-vae-fd": (SAVAE(steps=K, hvp=HVP.FINITE_DIFFERENCE), encoder + 2 * K * full + full),
    }


STRATEGIES = strategies(costs([]), costs([]))


@pytest.mark.slow
@pytest.mark.usefixtures("onednn")
@pytest.mark.parametrize("skip", [False, True], ids=["", "skip"])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", ["mlp", "lstm", "lstm-2", "transformer", "conv", "pixelcnn"])
def test_strategies(name, strategy, skip):
    """A step of the meter's: the first, which is counted, and the second, which is looked up."""
    _, encoder, decoder = DECODERS[name]
    _, spec, products, width = ENCODERS[encoder]
    e, d = costs([*products, *posterior(width, products)]), costs(decoder(D, skip=skip))
    method, expected = strategies(d, e)[strategy]
    methods = [method] if strategy != "amortized" else []
    first, second = steps(model(name, *methods, *[Skip()] * skip), method, data(spec))
    assert first == pytest.approx(expected, rel=0.01)
    assert second == first


@pytest.mark.usefixtures("onednn")
@pytest.mark.parametrize("name", DECODERS)
def test_without_latent_variable(name):
    expected = costs(DECODERS[name][2](0, skip=False))
    vae, spec = model(name, NoLatent()), ENCODERS[DECODERS[name][1]][1]
    first, _ = steps(vae, Amortized(), data(spec))
    assert first == pytest.approx(expected.forward + expected.by_hidden + expected.by_weights, rel=0.01)


def gradients(vae, method, x, seed=0):
    """The work of a step."""
    return lambda: method.gradients(vae, x, Objective(SeededNoise(seed)))


def steps(vae, method, x):
    """The FLOPs of a first and of a second step."""
    meter, flops = Meter(Budget.parse("9steps"), B), [0.0]
    for seed in range(2):
        meter.step(vae, x.shape, gradients(vae, method, x, seed))
        flops.append(meter.counters()["flops"])
    assert meter.findings() == ()  # no operation is without a formula
    return flops[1], flops[2] - flops[1]


class Wavering(Amortized):
    """Amortized inference that encodes so often as its seed says: work that the batch's shape does not decide."""

    def gradients(self, vae, x, objective):
        for _ in range(objective.noise.seed):
            vae.encode(x)
        return super().gradients(vae, x, objective)


class Direct(Wavering):
    """The same, past the model."""

    def gradients(self, vae, x, objective):
        for _ in range(objective.noise.seed):
            vae.encoder(x)
        return Amortized.gradients(self, vae, x, objective)


class Retaining(Wavering):
    """Passes the decoder backward once more for each count of its seed."""

    def gradients(self, vae, x, objective):
        terms = objective(vae, x, vae.encode(x))
        for _ in range(objective.noise.seed):
            terms.loss.backward(retain_graph=True)
        return terms.backward()


def meter_with(budget="9steps"):
    """A meter that audits no step of known cost."""
    return Meter(Budget.parse(budget), B, following=lambda step: 10**9)


def charged(vae, x, seeds, meter=None, method=None):
    """What the meter adds for every step of a wavering method."""
    meter, flops = meter or meter_with(), []
    for seed in seeds:
        before = meter.counters()["flops"]
        meter.step(vae, x.shape, gradients(vae, method or Wavering(), x, seed))
        flops.append(meter.counters()["flops"] - before)
    return flops


def test_a_method_whose_work_is_not_decided_by_shapes_is_counted_at_every_step():
    vae, x = model("mlp"), data(IMAGE)
    encoding = counted(lambda: vae.encode(x))
    base = charged(vae, x, [0])[0]
    flops = charged(vae, x, [0, 0, 2, 2, 0, 5])
    assert flops[:2] == [base, base]
    assert flops[3:] == [base + 2 * encoding, base, base + 5 * encoding]
    assert flops[2] >= base + 2 * encoding  # the step that gave it away is charged by estimate, and not too little


def test_a_method_that_calls_the_networks_itself_is_counted_at_every_step():
    vae, x = model("mlp"), data(IMAGE)
    encoding = counted(lambda: vae.encoder(x))
    base, *flops = charged(vae, x, [2, 3, 0, 1], method=Direct())
    assert flops == [base + encoding, base - 2 * encoding, base - encoding]


def test_passes_past_the_model_are_counted():
    vae, x = model("mlp"), data(IMAGE)
    meter = meter_with()
    charged(vae, x, [2, 3], meter, Direct())
    assert meter.counters()["encoder_evaluations"] == (3 + 4) * len(x)
    assert meter.counters()["decoder_gradients"] == 2 * len(x)


def test_every_shape_is_counted_once(monkeypatch):
    counters = []
    monkeypatch.setattr(
        "collapsebench.experiment.meter.FlopCounter", lambda: counters.append(FlopCounter()) or counters[-1]
    )
    vae, x = model("lstm"), data(TEXT)
    meter = meter_with()
    full, shorter = (charged(vae, batch, [0, 0], meter) for batch in (x, x[:, :-2]))
    assert full[0] == full[1] > shorter[0] == shorter[1] > 0
    assert len(counters) == 2


def shuffled(seed, sizes, lengths):
    """Batches as a text run meets them: many are full, the last one of each length is smaller."""
    shapes = [*product([max(sizes)] * 2, lengths), *product(sizes, lengths)]
    order = torch.randperm(len(shapes), generator=torch.Generator().manual_seed(seed))
    return [shapes[at] for at in order.tolist()]


def charges(costs, shapes, price, nodes=lambda shape: 5 + 2 * shape[-1] - (shape[0] == 1)):
    """What steps spend that cost `price` in FLOPs, and the shapes that were counted."""
    counted, charged, arrears = [], [], Arrears()
    for shape in shapes:
        known, trace = costs.of(shape), Trace(shape[0], shape[0], nodes(shape))
        if known is None:
            counted.append(shape)
            spent = StepCost(*trace[:2], shape[0], price(shape))
            costs.learn(shape, spent, trace)
        elif known.differs(trace):
            spent = arrears.estimate(shape, known, trace)
            costs.count_all()
        else:
            spent = known.cost
            costs.saw(shape, trace)
        charged.append(spent.flops)
    return charged, counted


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("coefficients", [(0, 0, 0, 3), (0, 0, 7, 3), (5, 0, 0, 3), (5, 2, 7, 3)])
def test_the_costs_of_most_shapes_follow_from_few(seed, coefficients):
    """Whatever is constant, by token, by example, or by both."""
    a, b, c, d = coefficients
    shapes = shuffled(seed, (1, 4, 9, 17, 20, 32), range(5, 30))
    charged, counted = charges(CostTable(), shapes, lambda shape: a + b * shape[1] + c * shape[0] + d * prod(shape))
    assert charged == [a + b * length + c * size + d * size * length for size, length in shapes]
    assert len(counted) <= 20 < len(set(shapes))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "price",
    [
        lambda size, length: size * (size + length),
        lambda size, length: size * length * length,
    ],
    ids=["between examples", "between tokens"],
)
def test_what_the_costs_do_not_follow_from_is_counted(seed, price):
    shapes = shuffled(seed, (1, 4, 9, 17, 20, 32), range(5, 30))
    charged, _ = charges(CostTable(), shapes, lambda shape: price(*shape))
    assert charged == [price(*shape) for shape in shapes]


def test_one_shape_that_does_not_agree_and_every_further_one_is_counted():
    """Two examples cost what follows; three cost more than that, and from then on nothing follows."""
    costs, lengths = CostTable(), range(10, 18)
    shapes = [*product([8], lengths), (2, 10), (2, 11), (3, 10), *product([8, 2, 3], range(18, 21))]
    charged, counted = charges(costs, shapes, lambda shape: prod(shape) + (shape[0] == 3))
    assert charged == [prod(shape) + (shape[0] == 3) for shape in shapes]
    assert counted == [*product([8], lengths[:4]), *shapes[8:]]


def test_a_size_far_beyond_those_counted_is_counted():
    costs = CostTable()
    charges(costs, [(8, length) for length in (10, 11, 12, 12)], prod)
    assert costs.of((8, 13)) is None  # that (8, 12) agreed might be chance
    charges(costs, [(8, 13)], prod)
    assert [costs.of((8, length)).cost.flops for length in (5, 9, 26)] == [40, 72, 208]
    assert [costs.of(shape) for shape in ((8, 4), (8, 27), (7, 10), (8,), (8, 10, 1))] == [None] * 5


def test_another_trace_than_that_which_follows_gives_a_method_away():
    """The step is charged in proportion to its passes at first, all that come later are counted."""
    costs = CostTable()
    charges(costs, [(8, length) for length in (10, 11, 12, 13)], prod)
    assert charges(costs, [(8, 20)], prod)[1] == []
    charged, counted = charges(costs, [(8, 20), (8, 10)], prod, nodes=lambda shape: 7)
    assert charged == [160, 80]
    assert counted == [(8, 10)]


def test_attention_is_charged_by_what_it_costs_at_every_length():
    """It is quadratic in the length, so that no cost follows from those of other lengths."""
    vae, meter = model("transformer"), meter_with()
    for shape in [*product([2], range(2, 6)), (3, 2), (4, 4), (5, 3), (4, 7), (4, 6), (3, 7), (2, 7)]:
        before = meter.counters()["flops"]
        with FlopCounter() as counter:
            meter.step(vae, shape, gradients(vae, Amortized(), torch.full(shape, 5)))
        assert meter.counters()["flops"] - before == counter.flops


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("name", "skip"), [("lstm", False), ("lstm-2", True)])
def test_costs_that_follow_are_those_that_would_be_counted(name, strategy, skip, monkeypatch):
    """Of every shape, a single example and a single token included."""
    method = strategies(costs([]), costs([]))[strategy][0]
    vae = model(name, *[method] * (strategy != "amortized"), *[Skip()] * skip)
    meter, counters = meter_with(), []
    monkeypatch.setattr(
        "collapsebench.experiment.meter.FlopCounter", lambda: counters.append(FlopCounter()) or counters[-1]
    )
    shapes = [*product([2], range(2, 6)), (1, 3), (3, 2), (4, 4), (5, 3), (3, 5), (1, 2), (4, 7)]
    for shape in shapes:
        x, before = torch.full(shape, 5), meter.counters()["flops"]
        with FlopCounter() as counter:
            meter.step(vae, x.shape, gradients(vae, method, x))
        assert meter.counters()["flops"] - before == counter.flops
    assert len(counters) == len(shapes) - 3


def test_a_step_that_raises_is_not_looked_up_later():
    vae, x = model("mlp"), data(IMAGE)
    meter = Meter(Budget.parse("9steps"), B)

    def break_down():
        vae.encode(x)
        raise ZeroDivisionError

    with contextlib.suppress(ZeroDivisionError):
        meter.step(vae, x.shape, break_down)
    assert meter.counters()["flops"] == meter.counters()["encoder_evaluations"] == 0
    assert charged(vae, x, [0], meter) == charged(vae, x, [0])


def test_what_is_known_is_kept_with_the_state():
    """A run that goes on charges what it would have charged, the step that gives a varying method away included."""
    vae, x, kept, again = model("mlp"), data(IMAGE), meter_with(), meter_with()
    charged(vae, x, [0], kept)
    again.load(kept.state())
    assert charged(vae, x, [2, 5, 0], again) == charged(vae, x, [2, 5, 0], kept)
    assert again.counters()["flops"] == kept.counters()["flops"]


@pytest.mark.parametrize("name", DECODERS)
def test_counting_changes_no_bit(name):
    vae, x = model(name), data(ENCODERS[DECODERS[name][1]][1])

    def gradients():
        vae.zero_grad()
        terms = Amortized().gradients(vae, x, Objective(SeededNoise(0)))
        return [terms.loss, *(parameter.grad for parameter in vae.parameters())]

    bare = gradients()
    with FlopCounter():
        metered = gradients()
    assert all(map(torch.equal, bare, metered))


def test_a_budget_of_flops_is_spent_and_not_overdrawn():
    vae, x = model("mlp"), data(IMAGE)
    (cost,) = charged(vae, x, [0])
    meter = Meter(Budget(amount=2.5 * cost, unit="flops"), B)
    assert meter.affords(x.shape)
    charged(vae, x, [0], meter)
    assert meter.progress().fraction == pytest.approx(1 / 2.5)
    assert meter.affords(x.shape)
    charged(vae, x, [0], meter)
    assert not meter.affords(x.shape)  # a third step would exceed it
    assert meter.affords((2, 5))  # of a shape without a price, one more step begins
    charged(vae, x, [0], meter)
    assert not meter.affords((2, 5))  # nothing is left
    assert meter.progress().fraction == 1


def test_onednn_is_off_within_the_layer_alone():
    vae, x, seen = model("lstm"), data(TEXT), []
    allowed, layer = torch.backends.mkldnn.enabled, vae.decoder.layers[0]
    with unfused_rnns(vae):
        layer.register_forward_pre_hook(lambda *_: seen.append(torch.backends.mkldnn.enabled))
        vae.log_likelihood(x, torch.zeros(1, B, D))
        assert (seen, torch.backends.mkldnn.enabled) == ([False], allowed)
        with pytest.raises(RuntimeError):
            layer(torch.zeros(B, T, 1))
        assert torch.backends.mkldnn.enabled == allowed
    vae.log_likelihood(x, torch.zeros(1, B, D))
    assert seen == [False, False, allowed]


def test_runs_under_one_budget_of_flops(command, tmp_path):
    """Its progress is that of FLOPs; nobody overdraws it, and who costs more makes fewer steps."""
    toy = ("run", "--plugin", toys.PLUGIN, "--dataset", "toy", "--set", "evaluation.every=2e5flops")
    assert command(*toy, "--budget", "1e6flops", "--method", "sa-vae[steps=2]").code == 0
    with Store.open(tmp_path / "results" / "collapsebench.sqlite") as store:
        runs = {run.contender: run for run in store.find()}
    assert all(5e5 < run.counters["flops"] <= 1e6 for run in runs.values())
    assert runs["vae"].counters["steps"] > 2 * runs["sa-vae[steps=2]"].counters["steps"] > 0
    board = json.loads(command("leaderboard", "--at", "flops=5e5", "--format", "json").out)["boards"][0]
    costs = {row["contender"]: row["scores"]["flops"]["aggregate"]["mean"] for row in board["rows"]}
    assert costs == {"vae": 5e5, "sa-vae[steps=2]": 5e5}
    assert command("plot", "--dataset", "toy", "--x", "flops", "--output", "toy.svg").code == 0
