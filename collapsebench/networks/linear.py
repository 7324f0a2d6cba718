"""The linear-Gaussian VAE (probabilistic PCA), whose likelihood, posterior and optimum have closed forms."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from collapsebench.model.factors import Factorized
from collapsebench.model.kernels.likelihoods import gaussian
from collapsebench.model.sampling import Sampling
from collapsebench.networks.independent import drawn_normal

if TYPE_CHECKING:
    from collapsebench.model.seeding import Noise


class Encoder(nn.Module):
    """The example itself."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.width = dimension

    def forward(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B P"]:
        """Give x, (B, P)."""
        return x


class Decoder(Factorized):
    r"""\(p(x|z) = N(x; Wz + b, \sigma^2 I)\). Without latent units it is \(N(b, \sigma^2 I)\)."""

    def __init__(self, dimension: int, latent_dim: int, *, variance: float, learn_variance: bool) -> None:
        super().__init__()
        self.first_log_variance = math.log(variance)
        self.loadings = nn.Linear(latent_dim, dimension, bias=False) if latent_dim else None
        self.bias = nn.Parameter(torch.empty(dimension))
        self.log_variance = nn.Parameter(torch.empty(())) if learn_variance else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set b to zero, and a learned variance to its first value."""
        nn.init.zeros_(self.bias)
        if self.log_variance is not None:
            nn.init.constant_(self.log_variance, self.first_log_variance)

    def forward(
        self, x: Float[Tensor, "B P"], z: Float[Tensor, "S B D"], dropout: Noise | None = None
    ) -> Float[Tensor, "S B"]:
        """Give log p(x|z) in nats. This decoder has no dropout."""
        del dropout
        return gaussian(self.mean(z), self._log_variance(x), x)

    def predictions(self, x: Float[Tensor, "B P"], z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B P 1"]:
        """Give the mean of each coordinate."""
        del x
        return self.mean(z)[..., None]

    def score(self, predictions: Float[Tensor, "S B P 1"], x: Float[Tensor, "B P"]) -> Float[Tensor, "S B"]:
        """Give log p(x|z) in nats."""
        return gaussian(predictions[..., 0], self._log_variance(x), x)

    def symbols(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B P"]:
        """Give the coordinates."""
        return x

    def sample(
        self, z: Float[Tensor, "S B D"], shape: tuple[int, ...], noise: Noise, sampling: Sampling = Sampling.RANDOM
    ) -> Float[Tensor, "S B P"]:
        """Give one vector for each z, (S, B, P) with P = `shape` (see `SamplingDecoder`)."""
        del shape
        mean = self.mean(z)
        return mean if sampling is Sampling.EXPECTED else drawn_normal(mean, self._log_variance(mean), noise)

    def mean(self, z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B P"]:
        """Give Wz + b."""
        mean = self.bias.expand(*z.shape[:2], -1)
        return mean if self.loadings is None else mean + self.loadings(z)

    def _log_variance(self, x: Tensor) -> Tensor:
        return x.new_full((), self.first_log_variance) if self.log_variance is None else self.log_variance
