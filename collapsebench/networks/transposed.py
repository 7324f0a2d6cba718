"""The decoder of images by transposed convolutions. It is not autoregressive: pixels are independent, given z."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor, nn

from collapsebench.components.interfaces import Site, SiteKind
from collapsebench.networks.independent import Independent, Likelihood
from collapsebench.networks.sites import LatentSite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collapsebench.components.interfaces import Connect


class Decoder(Independent):
    r"""\(h_0 = \mathrm{relu}(Az + a),\; h_l = \mathrm{relu}(W_l *^\top g_{l-1}(h_{l-1}, z) + b_l)\).

    The outputs are \(V * g_L(h_L, z) + v\). Each h is a number of feature maps. A transposed convolution
    (Dumoulin and Visin 2016, chapter 4) of kernel 4 and stride 2 doubles their height and breadth. Where a side of the
    image is odd, its last row or column is left out. The last convolution has kernel 3 and stride 1. Before each of
    them is a feature-map site g. Without latent units \(h_0 = 0\), so that all images have the same distribution.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        latent_dim: int,
        connect: Connect,
        *,
        channels: Sequence[int],
        likelihood: Likelihood,
    ) -> None:
        """`channels` are the feature maps of every h, from the smallest area to that of the image."""
        super().__init__(likelihood)
        areas = halved(shape[1:], len(channels) - 1)
        self.start, self.areas = (channels[0], *areas[0]), areas
        self.first = nn.Linear(latent_dim, prod(self.start)) if latent_dim else None
        sites = [
            LatentSite(Site(SiteKind.FEATURE_MAP, index, maps, latent_dim, area), connect)
            for index, (maps, area) in enumerate(zip(channels, areas, strict=True))
        ]
        self.sites = nn.ModuleList(sites)
        self.layers = nn.ModuleList(
            nn.ConvTranspose2d(site.width, maps, 4, stride=2, padding=1)
            for site, maps in zip(sites[:-1], channels[1:], strict=True)
        )
        self.output = nn.Conv2d(sites[-1].width, shape[0] * likelihood.outputs, 3, padding=1)

    def outputs(self, z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B P O"]:
        """Give the numbers from which the distribution of each pixel is made, in the order of `symbols`."""
        rows = z.flatten(0, 1)
        h = rows.new_zeros(len(rows), prod(self.start)) if self.first is None else self.first(rows).relu()
        h = h.unflatten(1, self.start)
        for layer, site, (height, breadth) in zip(self.layers, self.sites[:-1], self.areas[1:], strict=True):
            h = layer(site(h, rows))[:, :, :height, :breadth].relu()
        outputs: Tensor = self.output(self.sites[-1](h, rows))
        return outputs.view(*z.shape[:2], self.likelihood.outputs, -1).movedim(2, -1)


def halved(area: tuple[int, int], times: int) -> list[tuple[int, int]]:
    """Give the areas from the smallest to that of the image: each side is half of the next one, rounded up."""
    areas = [area]
    for _ in range(times):
        height, breadth = areas[0]
        areas.insert(0, ((height + 1) // 2, (breadth + 1) // 2))
    return areas
