"""Latent sites: the places of a decoder where a contender may let z in."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from torch import Tensor, nn

from collapsebench.components.interfaces import SiteKind
from collapsebench.errors import PluginError

if TYPE_CHECKING:
    from collapsebench.components.interfaces import Connect, Site


class LatentSite(nn.Module):
    """h' = g(h, z) with the contender's g, or h' = h where it has none; `width` is the width of h'.

    A decoder without latent units has no latent sites: `connect` is not asked.
    """

    def __init__(self, site: Site, connect: Connect) -> None:
        super().__init__()
        self.site = site
        self.connection = connect(site) if site.latent_dim else None
        self.width = site.width if self.connection is None else cast("int", self.connection.width)

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        """Activations h of N rows, as `SiteKind` describes them, and z (N, D).

        Raises PluginError if the connection returns another shape than its `width` says.
        """
        if self.connection is None:
            return h
        connected: Tensor = self.connection(h, z)
        expected = list(h.shape)
        expected[1 if self.site.kind is SiteKind.FEATURE_MAP else -1] = self.width
        if list(connected.shape) != expected:
            raise PluginError(
                f"the module of connect_latent at {self.site.kind} site {self.site.index} must return a tensor of "
                f"shape {tuple(expected)}, got {tuple(connected.shape)}"
            )
        return connected
