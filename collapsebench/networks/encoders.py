"""The encoders and their hyperparameters. The torch modules are imported when an encoder is built."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, PositiveInt, model_validator

from collapsebench.components.interfaces import Encoder
from collapsebench.errors import UsageError
from collapsebench.examples import CountSpec, ImageSpec, LevelImageSpec, TextSpec, VectorSpec
from collapsebench.networks.fitting import require_spec, require_whole_heads

if TYPE_CHECKING:
    from torch import nn

    from collapsebench.examples import DataSpec


class MLPEncoder(Encoder):
    """Hidden layers of rectified linear units over the flattened example."""

    name: ClassVar[str] = "mlp"
    hidden: PositiveInt = Field(512, description="units of every hidden layer")
    layers: PositiveInt = Field(2, description="number of hidden layers")

    def build(self, data: DataSpec) -> nn.Module:
        """Build the module from images, vectors or counts to (B, hidden). It reads log(1 + x) of counts.

        Raises UsageError for other data.
        """
        from collapsebench.networks import mlp

        if isinstance(data, CountSpec):
            return mlp.CountEncoder(data.dimension, self.hidden, self.layers)
        if isinstance(data, ImageSpec | LevelImageSpec):
            return mlp.Encoder(prod(data.shape), self.hidden, self.layers)
        return mlp.Encoder(require_spec(self, data, VectorSpec).dimension, self.hidden, self.layers)


class ResNetEncoder(Encoder):
    """Stages of one residual block and a convolution that halves the image."""

    name: ClassVar[str] = "resnet"
    citation: ClassVar[str] = "He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition, CVPR 2016"
    channels: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = Field(
        (64, 64, 64), description="feature maps of every stage"
    )

    def build(self, data: DataSpec) -> nn.Module:
        """Build the module from images to (B, F), the flattened feature maps of the last stage.

        Raises UsageError for other data, and for images that are too small for the number of stages.
        """
        from collapsebench.networks import resnet

        shape = data.shape if isinstance(data, LevelImageSpec) else require_spec(self, data, ImageSpec).shape
        if min(shape[1:]) >> len(self.channels) == 0:
            raise UsageError(
                f"encoder 'resnet' cannot halve an image of {shape[1]}x{shape[2]} pixels {len(self.channels)} times; "
                "give fewer channels"
            )
        return resnet.Encoder(shape, self.channels)


class LSTMEncoder(Encoder):
    """The last hidden state of an LSTM that reads the whole document, BOS and EOS included."""

    name: ClassVar[str] = "lstm"
    states: ClassVar[bool] = True
    citation: ClassVar[str] = "Bowman et al., Generating Sentences from a Continuous Space, CoNLL 2016"
    embedding: PositiveInt = Field(512, description="size of the word embeddings")
    hidden: PositiveInt = Field(1024, description="units of the LSTM")

    def build(self, data: DataSpec) -> nn.Module:
        """Build the module from text to (B, hidden). Raises UsageError for other data."""
        from collapsebench.networks import lstm

        return lstm.Encoder(require_spec(self, data, TextSpec).vocabulary, self.embedding, self.hidden)


class GRUEncoder(Encoder):
    """The last hidden state of a GRU that reads the whole document, BOS and EOS included."""

    name: ClassVar[str] = "gru"
    states: ClassVar[bool] = True
    citation: ClassVar[str] = (
        "Cho et al., Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation, "
        "EMNLP 2014"
    )
    embedding: PositiveInt = Field(512, description="size of the word embeddings")
    hidden: PositiveInt = Field(1024, description="units of the GRU")

    def build(self, data: DataSpec) -> nn.Module:
        """Build the module from text to (B, hidden). Raises UsageError for other data."""
        from collapsebench.networks import gru

        return gru.Encoder(require_spec(self, data, TextSpec).vocabulary, self.embedding, self.hidden)


class TransformerEncoder(Encoder):
    """The output at BOS of a pre-norm Transformer that reads the whole document, BOS and EOS included."""

    name: ClassVar[str] = "transformer"
    citation: ClassVar[str] = (
        "Vaswani et al., Attention Is All You Need, NeurIPS 2017; the layout of the norms is that of Xiong et al., On "
        "Layer Normalization in the Transformer Architecture, ICML 2020"
    )
    width: PositiveInt = Field(256, description="width of embeddings and layers, a multiple of the number of heads")
    layers: PositiveInt = Field(2, description="number of layers")
    heads: PositiveInt = Field(4, description="number of heads of every layer")
    feed_forward: PositiveInt = Field(1024, description="hidden units between two layers of attention")
    positions: PositiveInt = Field(512, description="number of learned positions: no document may be longer")

    @model_validator(mode="after")
    def _whole_heads(self) -> TransformerEncoder:
        require_whole_heads(self.width, self.heads)
        return self

    def build(self, data: DataSpec) -> nn.Module:
        """Build the module from text to (B, width). Raises UsageError for other data.

        The module raises UsageError for documents with more tokens than positions.
        """
        from collapsebench.networks import transformer

        return transformer.Encoder(
            require_spec(self, data, TextSpec).vocabulary,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            feed_forward=self.feed_forward,
            positions=self.positions,
        )


class LinearEncoder(Encoder):
    """The example itself. So the mean of the posterior is linear in it, as in probabilistic PCA."""

    name: ClassVar[str] = "linear"
    citation: ClassVar[str] = "Lucas et al., Don't Blame the ELBO! A Linear VAE Perspective, NeurIPS 2019"

    def build(self, data: DataSpec) -> nn.Module:
        """Build the module from vectors (B, P) to (B, P). Raises UsageError for other data."""
        from collapsebench.networks import linear

        return linear.Encoder(require_spec(self, data, VectorSpec).dimension)
