"""A likelihood that looks where it must not is refused, untrained; an honest one never is."""

import pytest
import tiny
import torch
from torch import nn

from collapsebench.components.hookspecs import hookimpl
from collapsebench.components.interfaces import Method, SiteKind
from collapsebench.errors import PluginError
from collapsebench.guards.causality import check_causality
from collapsebench.model.seeding import SeededNoise
from collapsebench_plugins.skip import Skip

NOISE = SeededNoise(3)


class Connection(nn.Module):
    """A connection that keeps the width."""

    def __init__(self, site):
        super().__init__()
        self.width, self.site = site.width, site


class Ahead(Connection):
    def forward(self, h, z):
        return h + 0.1 * torch.cat([h[:, 1:], h[:, -1:]], 1)


class FarAhead(Connection):
    def forward(self, h, z):
        return h + 0.001 * h[:, -1:]


class Bidirectional(Connection):
    def __init__(self, site):
        super().__init__(site)
        self.lstm = nn.LSTM(site.width, site.width // 2, bidirectional=True, batch_first=True)

    def forward(self, h, z):
        return self.lstm(h)[0]


class Attention(Connection):
    mask = False

    def __init__(self, site):
        super().__init__(site)
        self.attention = nn.MultiheadAttention(site.width, 1, batch_first=True)

    def forward(self, h, z):
        length = h.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool, device=h.device).triu(1) if self.mask else None
        return h + self.attention(h, h, h, attn_mask=mask, need_weights=False)[0]


class Masked(Attention):
    mask = True


class Padded(Connection):
    """A convolution over the sequence that is as long on both sides."""

    left, right = 1, 1

    def __init__(self, site):
        super().__init__(site)
        self.convolution = nn.Conv1d(site.width, site.width, 1 + self.left + self.right)

    def forward(self, h, z):
        return self.convolution(nn.functional.pad(h.mT, (self.left, self.right))).mT


class Causal(Padded):
    left, right = 2, 0


class MeanOfBatch(Connection):
    def forward(self, h, z):
        return h + 0.01 * h.mean(0, keepdim=True)


class EarlierRows(Connection):
    """A recurrent layer that forgets `batch_first`: each example reads those before it."""

    def __init__(self, site):
        super().__init__(site)
        self.gru = nn.GRU(site.width, site.width)

    def forward(self, h, z):
        return h + 0.1 * self.gru(h)[0]


class LargeBatches(Connection):
    """Looks at other examples where there are more than four."""

    def forward(self, h, z):
        return h + (h.mean(0, keepdim=True) if len(h) > 4 else 0.0)


class FloatMask(Attention):
    """Attention with a causal mask of numbers, which knows float32 alone."""

    def forward(self, h, z):
        mask = nn.Transformer.generate_square_subsequent_mask(h.shape[1])
        return h + self.attention(h, h, h, attn_mask=mask, need_weights=False)[0]


class OwnState(Connection):
    """A recurrent layer that is given its first state in float32."""

    def __init__(self, site):
        super().__init__(site)
        self.gru = nn.GRU(site.width, site.width, batch_first=True)

    def forward(self, h, z):
        return self.gru(h, torch.zeros(1, len(h), self.width))[0]


class AtMostPositions(Connection):
    """Looks one position ahead, but for the first, the middle and the last position."""

    def forward(self, h, z):
        ahead, length = torch.roll(h, -1, 1), h.shape[1]
        for position in (0, length // 2, length - 1):
            ahead[:, position] = 0
        return h + 0.1 * ahead


class Normalized(Connection):
    """Batch normalization, which in evaluation has running statistics."""

    def __init__(self, site):
        super().__init__(site)
        self.norm = nn.BatchNorm1d(site.width)

    def forward(self, h, z):
        return self.norm(h.mT).mT


class Unmasked(Connection):
    def __init__(self, site):
        super().__init__(site)
        self.convolution = nn.Conv2d(site.width, site.width, 3, padding=1)

    def forward(self, h, z):
        return h + 0.01 * self.convolution(h)


class NextRow(Connection):
    def forward(self, h, z):
        return h + 0.01 * h.roll(-1, 2)


class Pointwise(Unmasked):
    def __init__(self, site):
        super().__init__(site)
        self.convolution = nn.Conv2d(site.width, site.width, 1)


def model(family, connection):
    class Connecting(Method):
        name = "connecting"

        @hookimpl
        def connect_latent(self, site):
            return None if site.kind is SiteKind.OUTPUT else connection(site)

    return tiny.vae(family, [Connecting()])


@pytest.mark.parametrize("connection", [Ahead, FarAhead, Bidirectional, Attention, Padded])
def test_a_sequence_that_looks_ahead_is_refused(connection):
    with pytest.raises(PluginError, match="the decoder looks ahead"):
        check_causality(model("lstm", connection).float(), tiny.examples("lstm"), NOISE)


@pytest.mark.parametrize("connection", [Ahead, FarAhead, Attention, Padded])
@pytest.mark.parametrize("kind", [SiteKind.EMBEDDING, SiteKind.SEQUENCE])
def test_a_transformer_that_looks_ahead_at_any_of_its_sites_is_refused(connection, kind):
    vae = model("transformer", lambda site: connection(site) if site.kind is kind else None)
    with pytest.raises(PluginError, match="the decoder looks ahead"):
        check_causality(vae.float(), tiny.examples("transformer"), NOISE)


@pytest.mark.parametrize("connection", [Unmasked, NextRow])
def test_a_feature_map_that_looks_ahead_is_refused(connection):
    with pytest.raises(PluginError, match="the decoder looks ahead"):
        check_causality(model("pixelcnn", connection).float(), tiny.examples("pixelcnn").float(), NOISE)


@pytest.mark.parametrize("connection", [Masked, Causal, Normalized, FloatMask, OwnState])
def test_an_honest_sequence_passes(connection):
    check_causality(model("lstm", connection).float(), tiny.examples("lstm"), NOISE)


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("methods", [[], [Skip()]])
def test_the_shipped_decoders_pass(family, methods):
    vae = tiny.vae(family, methods).float()
    before = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    vae.train()
    x = tiny.examples(family)
    check_causality(vae, x.float() if x.is_floating_point() else x, NOISE)
    assert all(torch.equal(tensor, before[name]) for name, tensor in vae.state_dict().items())
    assert all(module.training for module in vae.modules())
    assert (vae.passes.encoder, vae.passes.decoder) == (0, 0)


def test_a_pointwise_map_passes():
    check_causality(model("pixelcnn", Pointwise), tiny.examples("pixelcnn"), NOISE)


@pytest.mark.parametrize("connection", [MeanOfBatch, EarlierRows, LargeBatches])
def test_a_decoder_that_looks_at_other_examples_is_refused(connection):
    with pytest.raises(PluginError, match="looks at other examples"):
        check_causality(model("lstm", connection).float(), tiny.examples("lstm", 9), NOISE)


def test_a_look_ahead_at_other_positions_than_the_obvious_is_found_by_those_that_are_drawn():
    x = torch.randint(7, (2, 15), generator=torch.Generator().manual_seed(0))
    vae = model("lstm", AtMostPositions).float()
    found = 0
    for _ in range(20):
        try:
            check_causality(vae, x, NOISE)
        except PluginError:
            found += 1
    assert found >= 18  # six of fourteen positions are drawn, eleven of which leak


@pytest.mark.parametrize("family", ["mlp", "pixelcnn", "lstm"])
def test_a_decoder_that_is_told_of_the_example_by_the_encoder_is_refused(family):
    told = {}

    class Remembers(Connection):
        def forward(self, h, z):
            return h + told.get("x", 0.0)

    vae = model(family, Remembers)
    vae.encoder.register_forward_hook(
        lambda module, inputs, output: told.update(x=float(inputs[0].double().sum()) / 100)
    )
    with pytest.raises(PluginError, match="remembers what the encoder was shown"):
        check_causality(vae, tiny.examples(family), NOISE)


def test_a_likelihood_that_is_not_the_product_of_its_factors_is_refused():
    vae = tiny.vae("lstm")
    vae.decoder.likelihood = lambda h, layer, tokens: torch.zeros(h.shape[:2], dtype=h.dtype)
    with pytest.raises(PluginError, match="is not the product of its factors"):
        check_causality(vae, tiny.examples("lstm"), NOISE)


def test_a_model_that_cannot_be_copied_is_tried_as_it_is():
    class Stubborn(Ahead):
        def __deepcopy__(self, memo):
            raise TypeError("cannot be copied")

    class Honest(Connection):
        __deepcopy__ = Stubborn.__deepcopy__

        def forward(self, h, z):
            return h

    check_causality(model("lstm", Honest).float(), tiny.examples("lstm"), NOISE)
    with pytest.raises(PluginError, match="looks ahead"):
        check_causality(model("lstm", Stubborn).float(), tiny.examples("lstm"), NOISE)


def test_the_order_of_pixels_is_that_of_reading():
    vae, x = tiny.vae("pixelcnn"), torch.zeros(1, 1, 4, 4).double()
    vae.decoder.symbols(x)[:, 5] = 1.0
    assert x.nonzero().tolist() == [[0, 0, 1, 1]]
