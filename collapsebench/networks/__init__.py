"""Encoders, posteriors, decoders and initializations that come with the harness.

Here are their hyperparameters; the modules they build live beside this file and are imported when they are built.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

from collapsebench.components.hookspecs import hookimpl
from collapsebench.components.interfaces import Component, Decoder, Encoder, Initialization, Posterior
from collapsebench.errors import UsageError
from collapsebench.examples import ImageSpec, TextSpec, VectorSpec

if TYPE_CHECKING:
    from torch import nn

    from collapsebench.components.interfaces import Connect
    from collapsebench.examples import DataSpec

Spec = TypeVar("Spec", TextSpec, ImageSpec, VectorSpec)

FITTING: dict[type[DataSpec], dict[str, str]] = {
    TextSpec: {"encoder": "lstm", "decoder": "lstm"},
    ImageSpec: {"encoder": "mlp, resnet", "decoder": "mlp, pixelcnn"},
    VectorSpec: {"encoder": "linear, mlp", "decoder": "linear"},
}
"""Which of these networks fit which data, for the message to those who choose another."""


def _fitting(component: Encoder | Decoder, data: DataSpec, kind: type[Spec]) -> Spec:
    """The data's description if the network is made for its kind; raises UsageError if not."""
    if isinstance(data, kind):
        return data
    choices = FITTING[type(data)][component.kind]
    raise UsageError(f"{component.kind} '{component.name}' does not fit {data}; {component.kind}s that do: {choices}")


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("a kernel must be odd to have a centre")
    return value


def _one_or_several(value: object) -> object:
    return (value,) if isinstance(value, int) else value


Odd: TypeAlias = Annotated[PositiveInt, AfterValidator(_odd)]


class MLPEncoder(Encoder):
    """Hidden layers of rectified linear units over the flattened example."""

    name: ClassVar[str] = "mlp"
    hidden: PositiveInt = Field(512, description="units of every hidden layer")
    layers: PositiveInt = Field(2, description="number of hidden layers")

    def build(self, data: DataSpec) -> nn.Module:
        """Images or vectors -> (B, hidden)."""
        from collapsebench.networks import mlp

        size = prod(data.shape) if isinstance(data, ImageSpec) else _fitting(self, data, VectorSpec).dimension
        return mlp.Encoder(self, size)


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

        shape = _fitting(self, data, ImageSpec).shape
        if min(shape[1:]) >> len(self.channels) == 0:
            raise UsageError(
                f"encoder 'resnet' cannot halve an image of {shape[1]}x{shape[2]} pixels {len(self.channels)} times; "
                "give fewer channels"
            )
        return resnet.Encoder(self, shape)


class LSTMEncoder(Encoder):
    """The last hidden state of an LSTM that reads the whole document, BOS and EOS included."""

    name: ClassVar[str] = "lstm"
    citation: ClassVar[str] = "Bowman et al., Generating Sentences from a Continuous Space, CoNLL 2016"
    embedding: PositiveInt = Field(512, description="size of the word embeddings")
    hidden: PositiveInt = Field(1024, description="units of the LSTM")

    def build(self, data: DataSpec) -> nn.Module:
        """Text -> (B, hidden)."""
        from collapsebench.networks import lstm

        return lstm.Encoder(self, _fitting(self, data, TextSpec).vocabulary)


class LinearEncoder(Encoder):
    """The example itself, so that the posterior's mean is linear in it, as probabilistic PCA's is."""

    name: ClassVar[str] = "linear"
    citation: ClassVar[str] = "Lucas et al., Don't Blame the ELBO! A Linear VAE Perspective, NeurIPS 2019"

    def build(self, data: DataSpec) -> nn.Module:
        """Vectors (B, P) -> (B, P)."""
        from collapsebench.networks import linear

        return linear.Encoder(_fitting(self, data, VectorSpec).dimension)


class GaussianPosterior(Posterior):
    """A diagonal Gaussian whose mean and log-variance are affine in the features."""

    name: ClassVar[str] = "gaussian"
    citation: ClassVar[str] = "Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014"
    bias: bool = Field(default=True, description="whether the maps to mean and log-variance have a bias")
    constant_variance: bool = Field(
        default=False, description="one learned log-variance per unit, the same for all x, as the linear VAE needs"
    )

    def build(self, width: int, latent_dim: int) -> nn.Module:
        """(B, F) -> DiagonalGaussian."""
        from collapsebench.networks import posterior

        return posterior.Gaussian(self, width, latent_dim)


class MLPDecoder(Decoder):
    """Independent Bernoulli pixels; their probabilities are a multilayer perceptron of z."""

    name: ClassVar[str] = "mlp"
    hidden: PositiveInt = Field(512, description="units of every hidden layer")
    layers: PositiveInt = Field(2, description="number of hidden layers after the first, linear map of z")

    def build(self, data: DataSpec, latent_dim: int, connect: Connect) -> nn.Module:
        """Images; vector sites before the nonlinearity of every hidden layer."""
        from collapsebench.networks import mlp

        return mlp.Decoder(self, prod(_fitting(self, data, ImageSpec).shape), latent_dim, connect)


class LSTMDecoder(Decoder):
    """An LSTM language model that reads z beside every word."""

    name: ClassVar[str] = "lstm"
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
        """Text; sequence sites after every layer, the last one before the vocabulary."""
        from collapsebench.networks import lstm

        return lstm.Decoder(self, _fitting(self, data, TextSpec).vocabulary, latent_dim, connect)


class PixelCNNDecoder(Decoder):
    """The gated PixelCNN: every pixel is predicted from those above it and to its left, and from z."""

    name: ClassVar[str] = "pixelcnn"
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
        """Feature maps and kernel size of every layer."""
        maps, sizes = (v * self.layers if len(v) == 1 else v for v in (self.maps, self.kernel_size))
        return list(zip(maps, sizes, strict=True))

    def build(self, data: DataSpec, latent_dim: int, connect: Connect) -> nn.Module:
        """Images; feature-map sites before every later layer and before the output."""
        from collapsebench.networks import pixelcnn

        return pixelcnn.Decoder(self, _fitting(self, data, ImageSpec).shape, latent_dim, connect)


class LinearDecoder(Decoder):
    """x ~ N(Wz + b, variance I): with N(0, I) as prior this is probabilistic PCA, and everything has a closed form."""

    name: ClassVar[str] = "linear"
    citation: ClassVar[str] = "Tipping and Bishop, Probabilistic Principal Component Analysis, JRSS B 1999"
    variance: PositiveFloat = Field(1.0, description="the noise variance, or its first value if it is learned")
    learn_variance: bool = Field(default=False, description="whether the noise variance is learned")

    def build(self, data: DataSpec, latent_dim: int, connect: Connect) -> nn.Module:
        """Vectors; no latent sites."""
        from collapsebench.networks import linear

        del connect
        return linear.Decoder(self, _fitting(self, data, VectorSpec).dimension, latent_dim)


class LibraryDefault(Initialization):
    """The default of the library: `reset_parameters` of every module."""

    name: ClassVar[str] = "torch"

    def apply(self, module: nn.Module) -> None:
        """Raises PluginError for parameters whose module cannot reset them."""
        from collapsebench.networks import initialization

        initialization.reset(module)


class Uniform(Initialization):
    """Every parameter from U(-scale, scale), biases included (the released text code of Dieng et al. 2019)."""

    name: ClassVar[str] = "uniform"
    scale: PositiveFloat = Field(0.1, description="the largest absolute value")

    def apply(self, module: nn.Module) -> None:
        """Draw every parameter from U(-scale, scale)."""
        from collapsebench.networks import initialization

        initialization.uniform(module, self.scale)


class HeLinear(Initialization):
    """Weights of affine maps from N(0, 2/fan_in), the rest as the library does (the released image code)."""

    name: ClassVar[str] = "he-linear"
    citation: ClassVar[str] = "He, Zhang, Ren and Sun, Delving Deep into Rectifiers, ICCV 2015"

    def apply(self, module: nn.Module) -> None:
        """Raises PluginError for parameters whose module cannot reset them."""
        from collapsebench.networks import initialization

        initialization.he_linear(module)


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
