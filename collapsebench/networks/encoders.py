"""Encoders: their hyperparameters. The modules that they build are imported when they are built."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, PositiveInt

from collapsebench.components.interfaces import Encoder
from collapsebench.errors import UsageError
from collapsebench.examples import ImageSpec, TextSpec, VectorSpec
from collapsebench.networks.fitting import fitting

if TYPE_CHECKING:
    from torch import nn

    from collapsebench.examples import DataSpec


class MLPEncoder(Encoder):
    """Hidden layers of rectified linear units over the flattened example."""

    name: ClassVar[str] = "mlp"
    hidden: PositiveInt = Field(512, description="units of every hidden layer")
    layers: PositiveInt = Field(2, description="number of hidden layers")

    def build(self, data: DataSpec) -> nn.Module:
        """Images or vectors -> (B, hidden)."""
        from collapsebench.networks import mlp

        size = prod(data.shape) if isinstance(data, ImageSpec) else fitting(self, data, VectorSpec).dimension
        return mlp.Encoder(size, self.hidden, self.layers)


class ResNetEncoder(Encoder):
    """Stages of one residual block and a convolution that halves the image."""

    name: ClassVar[str] = "resnet"
    citation: ClassVar[str] = "He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition, CVPR 2016"
    channels: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = Field(
        (64, 64, 64), description="feature maps of every stage"
    )

    def build(self, data: DataSpec) -> nn.Module:
        """Images -> (B, F), the flattened feature maps of the last stage."""
        from collapsebench.networks import resnet

        shape = fitting(self, data, ImageSpec).shape
        if min(shape[1:]) >> len(self.channels) == 0:
            raise UsageError(
                f"encoder 'resnet' cannot halve an image of {shape[1]}x{shape[2]} pixels {len(self.channels)} times; "
                "give fewer channels"
            )
        return resnet.Encoder(shape, self.channels)


class LSTMEncoder(Encoder):
    """The last hidden state of an LSTM that reads the whole document, BOS and EOS included."""

    name: ClassVar[str] = "lstm"
    citation: ClassVar[str] = "Bowman et al., Generating Sentences from a Continuous Space, CoNLL 2016"
    embedding: PositiveInt = Field(512, description="size of the word embeddings")
    hidden: PositiveInt = Field(1024, description="units of the LSTM")

    def build(self, data: DataSpec) -> nn.Module:
        """Text -> (B, hidden)."""
        from collapsebench.networks import lstm

        return lstm.Encoder(fitting(self, data, TextSpec).vocabulary, self.embedding, self.hidden)


class LinearEncoder(Encoder):
    """The example itself, so that the posterior's mean is linear in it, as probabilistic PCA's is."""

    name: ClassVar[str] = "linear"
    citation: ClassVar[str] = "Lucas et al., Don't Blame the ELBO! A Linear VAE Perspective, NeurIPS 2019"

    def build(self, data: DataSpec) -> nn.Module:
        """Vectors (B, P) -> (B, P)."""
        from collapsebench.networks import linear

        return linear.Encoder(fitting(self, data, VectorSpec).dimension)
