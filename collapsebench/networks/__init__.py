"""The encoders, posteriors, decoders and initializations that come with the harness.

Their hyperparameters are in the files `encoders`, `posteriors`, `decoders` and `initializations`. The torch modules are
in the other files, which are imported when a network is built.
"""

from __future__ import annotations

from collapsebench.components.hookspecs import hookimpl
from collapsebench.components.interfaces import Component
from collapsebench.networks.decoders import (
    ConvDecoder,
    LinearDecoder,
    LSTMDecoder,
    MLPDecoder,
    NegativeBinomialDecoder,
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
from collapsebench.networks.initializations import HeLinear, LibraryDefault, Uniform
from collapsebench.networks.posteriors import GaussianPosterior


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the networks that come with the harness."""
    return [
        MLPEncoder,
        ResNetEncoder,
        LSTMEncoder,
        GRUEncoder,
        TransformerEncoder,
        LinearEncoder,
        GaussianPosterior,
        MLPDecoder,
        LSTMDecoder,
        TransformerDecoder,
        ConvDecoder,
        PixelCNNDecoder,
        LinearDecoder,
        NegativeBinomialDecoder,
        LibraryDefault,
        Uniform,
        HeLinear,
    ]
