"""Multilayer perceptrons for images and vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor, nn

from collapsebench.components.interfaces import Site, SiteKind
from collapsebench.networks.independent import Independent, Likelihood
from collapsebench.networks.sites import LatentSite

if TYPE_CHECKING:
    from collapsebench.components.interfaces import Connect


class Encoder(nn.Module):
    """f_l = relu(W_l f_(l-1) + b_l), where f_0 is the flattened example."""

    def __init__(self, size: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.width = hidden
        widths = [size, *[hidden] * layers]
        self.layers = nn.ModuleList(map(nn.Linear, widths, widths[1:]))

    def forward(self, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B F"]:
        """Map examples (B, …) to (B, hidden)."""
        features = x.flatten(1)
        for layer in self.layers:
            features = layer(features).relu()
        return features


class CountEncoder(Encoder):
    r"""The same, where \(f_0 = \log(1 + x)\) for counts x."""

    def forward(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B F"]:
        """Map counts (B, P) to (B, hidden)."""
        return super().forward(x.log1p())


class Decoder(Independent):
    r"""\(h_0 = Az + a,\; h_l = \mathrm{relu}(g_l(W_l h_{l-1} + b_l, z))\). The outputs are \(V h_L + v\).

    A site \(g_l\) leaves the pre-activations as they are, or adds a map of z (Skip-VAE). Without latent units
    \(h_0 = 0\), so that each symbol has the same distribution for all examples.
    """

    def __init__(
        self, size: int, latent_dim: int, connect: Connect, *, hidden: int, layers: int, likelihood: Likelihood
    ) -> None:
        super().__init__(likelihood)
        self.width = hidden
        self.first = nn.Linear(latent_dim, hidden) if latent_dim else None
        self.layers = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers))
        self.sites = nn.ModuleList(
            LatentSite(Site(SiteKind.VECTOR, index, hidden, latent_dim), connect) for index in range(layers)
        )
        self.output = nn.Linear(hidden, size * likelihood.outputs)

    def outputs(self, z: Float[Tensor, "S B D"]) -> Float[Tensor, "S B P O"]:
        """Give the numbers from which the distribution of each symbol is made."""
        rows = z.flatten(0, 1)
        h = rows.new_zeros(len(rows), self.width) if self.first is None else self.first(rows)
        for layer, site in zip(self.layers, self.sites, strict=True):
            h = site(layer(h), rows).relu()
        outputs: Tensor = self.output(h)
        return outputs.view(*z.shape[:2], -1, self.likelihood.outputs)
