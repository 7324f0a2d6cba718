"""Encoders, posteriors, decoders and initializations that come with the harness.

The files encoders, posteriors, decoders and initializations hold their hyperparameters. The modules that they build
stand in the other files, and are imported when they are built.
"""

from __future__ import annotations

from collapsebench.components.hookspecs import hookimpl
from collapsebench.components.interfaces import Component
from collapsebench.networks.decoders import LinearDecoder, LSTMDecoder, MLPDecoder, PixelCNNDecoder
from collapsebench.networks.encoders import LinearEncoder, LSTMEncoder, MLPEncoder, ResNetEncoder
from collapsebench.networks.initializations import HeLinear, LibraryDefault, Uniform
from collapsebench.networks.posteriors import GaussianPosterior


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """The networks that come with the harness."""
    return [
        MLPEncoder,
        ResNetEncoder,
        LSTMEncoder,
        LinearEncoder,
        GaussianPosterior,
        MLPDecoder,
        LSTMDecoder,
        PixelCNNDecoder,
        LinearDecoder,
        LibraryDefault,
        Uniform,
        HeLinear,
    ]
