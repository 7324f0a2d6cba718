"""Skip connections from z to every layer of the decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from collapsebench import Component, Method, Site, SiteKind, hookimpl

if TYPE_CHECKING:
    from torch import nn


class Skip(Method):
    r"""Skip-VAE: \(h_l = f_l(g_l(h_{l-1}, z))\) at every layer l, so that the decoder cannot lose z on its way.

    g is the paper's for each kind of decoder: concatenation of z to every output of a recurrent layer, of a linear
    map of z as one more feature map before every convolution, and \(\sigma(W_l h_{l-1} + U_l z)\) in a perceptron.
    """

    name: ClassVar[str] = "skip"
    citation: ClassVar[str] = (
        "Dieng, Kim, Rush and Blei, Avoiding Latent Variable Collapse with Generative Skip Models, AISTATS 2019"
    )

    @hookimpl
    def connect_latent(self, site: Site) -> nn.Module:
        """A connection of its own for every site."""
        from collapsebench.networks.connections import AddLinear, Concatenate, ConcatenateMap

        match site.kind:
            case SiteKind.SEQUENCE:
                return Concatenate(site.width, site.latent_dim)
            case SiteKind.FEATURE_MAP:
                return ConcatenateMap(site.width, site.latent_dim, site.area)
            case SiteKind.VECTOR:
                return AddLinear(site.width, site.latent_dim)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """The method."""
    return [Skip]
