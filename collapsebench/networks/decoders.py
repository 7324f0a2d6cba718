"""The decoders and their hyperparameters. The torch modules are imported when a decoder is built."""

from __future__ import annotations

from enum import StrEnum
from math import prod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

from collapsebench.components.interfaces import Decoder
from collapsebench.examples import CountSpec, ImageSpec, LevelImageSpec, TextSpec, VectorSpec
from collapsebench.networks.fitting import require_spec, require_whole_heads

if TYPE_CHECKING:
    from torch import nn

    from collapsebench.components.interfaces import Connect
    from collapsebench.examples import DataSpec
    from collapsebench.networks.independent import Likelihood


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("a kernel must be odd to have a centre")
    return value


def _one_or_several(value: object) -> object:
    return (value,) if isinstance(value, int) else value


Odd: TypeAlias = Annotated[PositiveInt, AfterValidator(_odd)]


class MLPDecoder(Decoder):
    """Independent Bernoulli pixels. Their probabilities are a multilayer perceptron of z."""

    name: ClassVar[str] = "mlp"
    rows: ClassVar[int] = 1024
    hidden: PositiveInt = Field(512, description="units of every hidden layer")
    layers: PositiveInt = Field(2, description="number of hidden layers after the first, linear map of z")

    def build(self, data: DataSpec, latent_dim: int, connect: Connect) -> nn.Module:
        """Build the decoder of images. There is a vector site before the nonlinearity of every hidden layer.

        Raises UsageError for other data.
        """
        from collapsebench.networks import independent, mlp

        size, likelihood = prod(require_spec(self, data, ImageSpec).shape), independent.Bernoulli()
        return mlp.Decoder(size, latent_dim, connect, hidden=self.hidden, layers=self.layers, likelihood=likelihood)


class LSTMDecoder(Decoder):
    """An LSTM language model that reads z beside every word."""

    name: ClassVar[str] = "lstm"
    reads: ClassVar[bool] = True
    output_site: ClassVar[bool] = True
    citation: ClassVar[str] = "Bowman et al., Generating Sentences from a Continuous Space, CoNLL 2016"
    embedding: PositiveInt = Field(512, description="size of the word embeddings")
    hidden: PositiveInt = Field(1024, description="units of every LSTM layer")
    layers: PositiveInt = Field(1, description="number of LSTM layers")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="dropout rate on word embeddings and on the output of the top layer, never on z"
    )
    start: Literal["hidden", "cell"] = Field(
        "hidden",
        description="where z enters the first state of the top layer: 'hidden' h = Wz + b (Kim et al. 2018; Dieng et "
        "al. 2019), 'cell' c = Wz, h = tanh c (He et al. 2019)",
    )
    output_bias: bool = Field(default=True, description="whether the map to the vocabulary has a bias")

    def build(self, data: DataSpec, latent_dim: int, connect: Connect) -> nn.Module:
        """Build the decoder of text. There is a sequence site after every layer, the last one before the vocabulary.

        The map to the vocabulary is an output site. Raises UsageError for other data.
        """
        from collapsebench.networks import lstm

        return lstm.Decoder(
            require_spec(self, data, TextSpec).vocabulary,
            latent_dim,
            connect,
            embedding=self.embedding,
            hidden=self.hidden,
            layers=self.layers,
            dropout=self.dropout,
            start=self.start,
            output_bias=self.output_bias,
        )


class Entry(StrEnum):
    """The ways in which z enters a Transformer: as a vector of memory in every layer, in every embedding, or both."""

    MEMORY = "memory"
    EMBEDDING = "embedding"
    BOTH = "both"


class TransformerDecoder(Decoder):
    """A causal pre-norm Transformer language model whose layers attend to z, or whose embeddings contain it."""

    name: ClassVar[str] = "transformer"
    reads: ClassVar[bool] = True
    output_site: ClassVar[bool] = True
    citation: ClassVar[str] = (
        "Li et al., Optimus: Organizing Sentences via Pre-trained Modeling of a Latent Space, EMNLP 2020, section 3.1"
    )
    width: PositiveInt = Field(256, description="width of embeddings and layers, a multiple of the number of heads")
    layers: PositiveInt = Field(2, description="number of layers")
    heads: PositiveInt = Field(4, description="number of heads of every layer")
    feed_forward: PositiveInt = Field(1024, description="hidden units between two layers of attention")
    positions: PositiveInt = Field(512, description="number of learned positions: no document may be longer")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="dropout rate on embeddings and on what every layer gives to the next, never on z"
    )
    entry: Entry = Field(
        Entry.BOTH,
        description="where z enters: memory (W_l z is one more key and value of every layer), embedding (Wz is added "
        "to every embedding), or both",
    )

    @model_validator(mode="after")
    def _whole_heads(self) -> TransformerDecoder:
        require_whole_heads(self.width, self.heads)
        return self

    def build(self, data: DataSpec, latent_dim: int, connect: Connect) -> nn.Module:
        """Build the decoder of text.

        There is an embedding site before the first layer. Each layer has a memory site, and a sequence site after it,
        the last one before the vocabulary. The map to the vocabulary is an output site. Raises UsageError for other
        data. The module raises it for documents with more tokens than positions.
        """
        from collapsebench.networks import transformer

        return transformer.Decoder(
            require_spec(self, data, TextSpec).vocabulary,
            latent_dim,
            connect,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            feed_forward=self.feed_forward,
            positions=self.positions,
            dropout=self.dropout,
            memory=self.entry is not Entry.EMBEDDING,
            embedding=self.entry is not Entry.MEMORY,
        )


class PixelCNNDecoder(Decoder):
    """The gated PixelCNN. It predicts each pixel from the pixels above it and to its left, and from z."""

    name: ClassVar[str] = "pixelcnn"
    reads: ClassVar[bool] = True
    citation: ClassVar[str] = (
        "van den Oord et al., Conditional Image Generation with PixelCNN Decoders, NeurIPS 2016; as in the released "
        "code of Dieng et al. 2019"
    )
    layers: PositiveInt = Field(9, description="number of gated layers")
    maps: Annotated[tuple[PositiveInt, ...], BeforeValidator(_one_or_several)] = Field(
        (32,), description="feature maps, one number for all layers or one for each"
    )
    kernel_size: Annotated[tuple[Odd, ...], BeforeValidator(_one_or_several)] = Field(
        (3,), description="kernel size, one number for all layers or one for each"
    )

    @model_validator(mode="after")
    def _for_each_layer(self) -> PixelCNNDecoder:
        for name, values in (("maps", self.maps), ("kernel_size", self.kernel_size)):
            if len(values) not in {1, self.layers}:
                raise ValueError(f"{name} has {len(values)} values for {self.layers} layers")
        return self

    @property
    def kernels(self) -> list[tuple[int, int]]:
        """The feature maps and the kernel size of every layer."""
        maps, sizes = (v * self.layers if len(v) == 1 else v for v in (self.maps, self.kernel_size))
        return list(zip(maps, sizes, strict=True))

    def build(self, data: DataSpec, latent_dim: int, connect: Connect) -> nn.Module:
        """Build the decoder of images. A feature-map site is before each layer but the first, and before the output.

        Raises UsageError for other data.
        """
        from collapsebench.networks import pixelcnn

        return pixelcnn.Decoder(require_spec(self, data, ImageSpec).shape, latent_dim, connect, kernels=self.kernels)


class LevelLikelihood(StrEnum):
    """The distributions of pixels of several levels."""

    GAUSSIAN = "gaussian"
    DISCRETIZED_LOGISTIC = "discretized-logistic"


class ConvDecoder(Decoder):
    """Independent pixels. Their distributions are transposed convolutions of z: nothing is autoregressive.

    Binary pixels are Bernoulli. Those of several levels have the likelihood that is asked for. A discretized logistic
    is a probability of the level. A Gaussian is a density of the number: boards of the two cannot be compared.
    """

    name: ClassVar[str] = "conv"
    citation: ClassVar[str] = (
        "Radford, Metz and Chintala, Unsupervised Representation Learning with Deep Convolutional Generative "
        "Adversarial Networks, ICLR 2016, without its batch normalization"
    )
    channels: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = Field(
        (64, 64, 32),
        description="feature maps from the smallest area to that of the image, which is twice as large each",
    )
    likelihood: LevelLikelihood = Field(
        LevelLikelihood.DISCRETIZED_LOGISTIC, description="of pixels of several levels; binary ones are Bernoulli"
    )
    variance: PositiveFloat = Field(0.01, description="the variance of a Gaussian, or its first value if it is learned")
    learn_variance: bool = Field(default=True, description="whether the variance of a Gaussian is learned")

    def build(self, data: DataSpec, latent_dim: int, connect: Connect) -> nn.Module:
        """Build the decoder of images. A feature-map site is before every convolution, the last one included.

        Raises UsageError for other data.
        """
        from collapsebench.networks import transposed

        likelihood = self._likelihood(data)
        shape = data.shape if isinstance(data, LevelImageSpec) else require_spec(self, data, ImageSpec).shape
        return transposed.Decoder(shape, latent_dim, connect, channels=self.channels, likelihood=likelihood)

    def _likelihood(self, data: DataSpec) -> Likelihood:
        from collapsebench.networks import independent

        if not isinstance(data, LevelImageSpec):
            return independent.Bernoulli()
        if self.likelihood is LevelLikelihood.GAUSSIAN:
            return independent.Gaussian(variance=self.variance, learn_variance=self.learn_variance)
        return independent.DiscretizedLogistic(data.levels)


class NegativeBinomialDecoder(Decoder):
    """Independent counts, whose mean is the exponential of a multilayer perceptron of z."""

    name: ClassVar[str] = "negative-binomial"
    citation: ClassVar[str] = (
        "Lopez et al., Deep Generative Modeling for Single-cell Transcriptomics, Nature Methods 2018, without its "
        "library size and zero inflation"
    )
    hidden: PositiveInt = Field(128, description="units of every hidden layer")
    layers: PositiveInt = Field(1, description="number of hidden layers after the first, linear map of z")

    def build(self, data: DataSpec, latent_dim: int, connect: Connect) -> nn.Module:
        """Build the decoder of counts. There is a vector site before the nonlinearity of every hidden layer.

        Raises UsageError for other data.
        """
        from collapsebench.networks import independent, mlp

        size = require_spec(self, data, CountSpec).dimension
        likelihood = independent.NegativeBinomial(size)
        return mlp.Decoder(size, latent_dim, connect, hidden=self.hidden, layers=self.layers, likelihood=likelihood)


class LinearDecoder(Decoder):
    """x ~ N(Wz + b, variance I). With the prior N(0, I) this is probabilistic PCA, and everything has a closed form."""

    name: ClassVar[str] = "linear"
    rows: ClassVar[int] = 1024
    citation: ClassVar[str] = "Tipping and Bishop, Probabilistic Principal Component Analysis, JRSS B 1999"
    variance: PositiveFloat = Field(1.0, description="the noise variance, or its first value if it is learned")
    learn_variance: bool = Field(default=False, description="whether the noise variance is learned")

    def build(self, data: DataSpec, latent_dim: int, connect: Connect) -> nn.Module:
        """Build the decoder of vectors. It has no latent sites.

        Raises UsageError for other data.
        """
        from collapsebench.networks import linear

        del connect
        dimension = require_spec(self, data, VectorSpec).dimension
        return linear.Decoder(dimension, latent_dim, variance=self.variance, learn_variance=self.learn_variance)
