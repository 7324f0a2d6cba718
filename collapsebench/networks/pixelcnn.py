"""Gated PixelCNN decoder (van den Oord et al. 2016), with the masks of the released image code of Dieng et al. 2019."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from jaxtyping import Float
from torch import Tensor, nn

from collapsebench.components.interfaces import Site, SiteKind
from collapsebench.model.factors import Factorized
from collapsebench.model.kernels.convolution import (
    convolve_above,
    convolve_before,
    maps_first,
    maps_last,
    shift_columns,
)
from collapsebench.model.kernels.gate import gate
from collapsebench.model.kernels.likelihoods import bernoulli
from collapsebench.model.sampling import Sampling
from collapsebench.networks.connections import ConcatenateMap
from collapsebench.networks.independent import drawn_bits
from collapsebench.networks.sites import LatentSite

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collapsebench.components.interfaces import Connect
    from collapsebench.model.seeding import Noise


class GatedLayer(nn.Module):
    """One layer of two stacks: the vertical one sees the rows above a pixel, the horizontal one the pixels on its left.

    Kernels are cut, not masked. With p = k // 2, the vertical kernel is (p + 1) x k and ends in the row above a pixel.
    The horizontal kernel is 1 x (p + 1) and ends in the pixel. The first layer shifts the horizontal output by one
    column to the right, so that no pixel sees itself, and zeros come in. Later layers add a 1x1 map of their horizontal
    input. Feature maps come last, so that all but the vertical convolution are products with tall matrices.
    """

    def __init__(self, width: int, maps: int, kernel_size: int, *, first: bool) -> None:
        super().__init__()
        reach = kernel_size // 2 + 1
        self.vertical = nn.Conv2d(width, 2 * maps, (reach, kernel_size))
        self.horizontal = nn.Conv2d(width, 2 * maps, (1, reach))
        self.link = nn.Conv2d(2 * maps, 2 * maps, 1)
        self.output = nn.Conv2d(maps, maps, 1)
        self.residual = None if first else nn.Conv2d(width, maps, 1)

    def forward(
        self, v: Float[Tensor, "N H W C"], h: Float[Tensor, "N H W C"]
    ) -> tuple[Float[Tensor, "N H W K"], Float[Tensor, "N H W K"]]:
        """Map both stacks: (N, H, W, width) -> (N, H, W, maps)."""
        reached = convolve_above(v, self.vertical.weight, bias_of(self.vertical))
        left, link = (h, columns_of(self.horizontal)), (reached, columns_of(self.link))
        if self.residual is None:
            strictly_left = shift_columns(convolve_before(left, bias=bias_of(self.horizontal)), 1)
            here = strictly_left + convolve_before(link, bias=bias_of(self.link))
            return gate(reached), pointwise(self.output, gate(here))
        here = convolve_before(left, link, bias=bias_of(self.horizontal) + bias_of(self.link))
        output, residual = (gate(here), columns_of(self.output)), (h, columns_of(self.residual))
        return gate(reached), convolve_before(output, residual, bias=bias_of(self.output) + bias_of(self.residual))


def pointwise(layer: nn.Conv2d, x: Float[Tensor, "N H W C"]) -> Float[Tensor, "N H W K"]:
    """Convolve x with a 1x1 kernel."""
    return convolve_before((x, columns_of(layer)), bias=bias_of(layer))


def columns_of(layer: nn.Conv2d) -> Float[Tensor, "K C k"]:
    """Give the kernel of a convolution over columns alone."""
    return layer.weight[:, :, 0]


def bias_of(layer: nn.Conv2d) -> Float[Tensor, " K"]:
    """Give the bias. Every layer here has one."""
    return cast("Tensor", layer.bias)


class Decoder(Factorized):
    r"""\(p(x|z) = \prod_p p(x_p | x_{<p}, z)\) over the pixels in reading order. Each factor is a Bernoulli.

    Both stacks start from the image and one map of z. There is a site before every layer but the first, and one before
    the 1x1 output. Both stacks share the connection of a site. Without latent units this is the plain PixelCNN.
    """

    def __init__(
        self, shape: tuple[int, int, int], latent_dim: int, connect: Connect, *, kernels: Iterable[tuple[int, int]]
    ) -> None:
        """`kernels` are the feature maps and the kernel size of every layer."""
        super().__init__()
        channels, area = shape[0], shape[1:]
        self.first = ConcatenateMap(channels, latent_dim, area) if latent_dim else None
        self.layers, self.sites = nn.ModuleList(), nn.ModuleList()
        width = channels if self.first is None else self.first.width
        for index, (maps, kernel_size) in enumerate(kernels):
            self.layers.append(GatedLayer(width, maps, kernel_size, first=index == 0))
            site = LatentSite(Site(SiteKind.FEATURE_MAP, index + 1, maps, latent_dim, area), connect)
            self.sites.append(site)
            width = site.width
        self.output = nn.Conv2d(width, channels, 1)

    def forward(
        self,
        x: Float[Tensor, "B C H W"],
        z: Float[Tensor, "S B D"],
        dropout: Noise | None = None,
        read: Float[Tensor, "B C H W"] | None = None,
    ) -> Float[Tensor, "S B"]:
        """Give log p(x|z) in nats. This decoder has no dropout. It reads the pixels of `read`, by default x."""
        del dropout
        return bernoulli(self.probability(x if read is None else read, z).flatten(2), x.flatten(1))

    def predictions(self, x: Float[Tensor, "B C H W"], z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B P C"]:
        """Give the probability of a one at each pixel, in reading order."""
        return self.probability(x, z).flatten(3).movedim(2, -1)

    def score(self, predictions: Float[Tensor, "S B P C"], x: Float[Tensor, "B C H W"]) -> Float[Tensor, "S B"]:
        """Give log p(x|z) in nats."""
        return bernoulli(predictions.flatten(2), self.symbols(x).flatten(1))

    def symbols(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B P C"]:
        """Give the pixels in reading order."""
        return x.flatten(2).movedim(1, -1)

    def sample(
        self, z: Float[Tensor, "S B D"], shape: tuple[int, ...], noise: Noise, sampling: Sampling = Sampling.RANDOM
    ) -> Float[Tensor, "S B C H W"]:
        """Give one image for each z, pixel by pixel in reading order (see `SamplingDecoder`).

        This is one pass through the network for each pixel.
        """
        rows = z.flatten(0, 1)[None]  # (1, N, D), N = S B
        x = z.new_zeros(rows.shape[1], *shape)
        pixels = self.symbols(x)
        for place in range(pixels.shape[1]):
            probability = self.predictions(x, rows)[0, :, place]
            likeliest = sampling is Sampling.EXPECTED
            pixels[:, place] = probability.round() if likeliest else drawn_bits(probability, noise.child(place))
        return x.view(*z.shape[:2], *shape)

    def probability(self, x: Float[Tensor, "B C H W"], z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B C H W"]:
        """Give the probability of a one at each pixel, given the pixels before it. It is not clamped yet."""
        rows = z.flatten(0, 1)  # (N, D), N = S B
        image = x.expand(len(z), *x.shape)
        v = h = maps_last(image.flatten(0, 1) if self.first is None else self.first(image.flatten(0, 1), rows))
        v, h = self.layers[0](v, h)
        for layer, site in zip(self.layers[1:], self.sites[:-1], strict=True):
            v, h = (maps_last(site(maps_first(stack), rows)) for stack in (v, h))
            v, h = layer(v, h)
        probability = pointwise(self.output, maps_last(self.sites[-1](maps_first(h), rows))).sigmoid()
        return maps_first(probability).reshape(image.shape)
