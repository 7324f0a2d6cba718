"""Analytic counts: what each workload computes at least, in FLOP. One multiplication with one addition is two.

A pass of an affine map costs one unit forward, one for the gradient of its input and one for that of its weights.
A step of SVI that is differentiated through costs six: forward, gradient of the input, and in the second backward the
tangent, its adjoint, and two products for the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

STEP = 3
"""Units of a training step."""
SVI = 6
"""Units of one refinement step, its second backward included."""


@dataclass(frozen=True)
class Text:
    """LSTM encoder and decoder with one layer each."""

    vocabulary: int
    embedding: int
    hidden: int
    latent: int
    batch: int
    tokens: int

    def affine(self, inputs: int, outputs: int) -> float:
        """One unit of a map at every token of a batch."""
        return 2.0 * self.batch * self.tokens * inputs * outputs

    @property
    def words(self) -> float:
        """One unit of the map to the vocabulary."""
        return self.affine(self.hidden, self.vocabulary)

    def lstm(self, inputs: int) -> float:
        """One unit of an LSTM."""
        return self.affine(inputs + self.hidden, 4 * self.hidden)

    def decoder(self) -> float:
        """One unit of the decoder; it reads z beside every word."""
        return self.words + self.lstm(self.embedding + self.latent)

    def vae(self) -> float:
        """One training step; the encoder reads one token more than are predicted."""
        return STEP * (self.decoder() + self.lstm(self.embedding) * (self.tokens + 1) / self.tokens)

    def skip(self) -> float:
        """One training step with z beside every hidden state as well."""
        return self.vae() + STEP * self.affine(self.latent, self.vocabulary)

    def sa_vae(self, steps: int) -> float:
        """One training step of SA-VAE.

        z takes no product of its own at every token, and the words' part of the LSTM's input is the same in all steps:
        it is computed once, with one adjoint.
        """
        recurrent = self.lstm(0)
        words = 3 * STEP * self.affine(self.embedding, 4 * self.hidden)
        return steps * SVI * (self.words + recurrent) + STEP * (self.words + 2 * recurrent) + words

    def importance(self, samples: int) -> float:
        """All samples of one document, forward alone."""
        return samples * self.decoder() / self.batch


@dataclass(frozen=True)
class Perceptron:
    """784-512-512-(2x50) encoder and 50-512-512-512-784 decoder."""

    batch: int

    def vae(self) -> float:
        """One training step; nobody asks for the gradient of the image."""
        maps = [(784, 512), (512, 512), (512, 100), (50, 512), (512, 512), (512, 512), (512, 784)]
        return 2.0 * self.batch * (STEP * sum(map(prod, maps)) - 784 * 512)


@dataclass(frozen=True)
class PixelCNN:
    """Gated PixelCNN of nine layers with 32 maps, 3x3 kernels cut to those before a pixel; ResNet-64 encoder; 28x28."""

    batch: int
    latent: int
    skip: bool

    def convolution(self, inputs: int, outputs: int, kernel: int, area: int) -> float:
        """One unit."""
        return 2.0 * self.batch * inputs * outputs * kernel * area

    def decoder(self) -> float:
        """One unit."""
        return (
            sum(self._layer(index) for index in range(9)) + self._maps() + self.convolution(self._width(9), 1, 1, 784)
        )

    def _width(self, index: int) -> int:
        """Input maps of a layer: the image and a map of z, or the maps before it, and one of z if skipped there."""
        return 2 if index == 0 else 32 + int(self.skip)

    def _layer(self, index: int) -> float:
        """Vertical 2x3 and horizontal 1x2, the link between them, the output, and the residual map."""
        width = self._width(index)
        shapes = [(width, 64, 6), (width, 64, 2), (64, 64, 1), (32, 32, 1)] + [(width, 32, 1)] * (index > 0)
        return sum(self.convolution(*shape, 784) for shape in shapes)

    def _maps(self) -> float:
        """The maps of z: one at the start; two stacks share one at each later layer, which is computed for both."""
        return 2.0 * self.batch * self.latent * 784 * (1 + (17 if self.skip else 0))

    def encoder(self) -> tuple[float, float]:
        """One unit, and that part of it which has no gradient by its input."""
        total, width = 2.0 * self.batch * 64 * 9 * 2 * self.latent, 1
        for area in (784, 196, 49):
            shapes = [(width, 64, 9, area), (64, 64, 9, area), (64, 64, 4, area // 4)]
            shapes += [(width, 64, 1, area)] if width != 64 else []
            total, width = total + sum(self.convolution(*shape) for shape in shapes), 64
        return total, self.convolution(1, 64, 9 + 1, 784)

    def vae(self) -> float:
        """One training step."""
        encoder, first = self.encoder()
        return STEP * (encoder + self.decoder()) - first

    def sa_vae(self, steps: int) -> float:
        """One training step of SA-VAE."""
        return self.vae() + steps * SVI * self.decoder()


def bracket(examples: int, latent: int) -> float:
    """Matrix products of the mutual information bracket: the squares and the codes against every posterior."""
    return 2.0 * examples * examples * 2 * latent
