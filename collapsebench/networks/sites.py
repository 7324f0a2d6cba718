"""Latent sites: the places of a decoder where a contender may add z."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from torch import Tensor, nn

from collapsebench.components.interfaces import SiteKind
from collapsebench.errors import place_in_module, unexpected

if TYPE_CHECKING:
    from collapsebench.components.interfaces import Connect, Site


class LatentSite(nn.Module):
    """h' = g(h, z) with the contender's connection g, or h' = h without one. `width` is the width of h'.

    In a decoder without latent units `connect` is not called.
    """

    def __init__(self, site: Site, connect: Connect) -> None:
        super().__init__()
        self.site = site
        self.connection = connect(site) if site.latent_dim else None
        self.width = site.width if self.connection is None else cast("int", self.connection.width)

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        """Map activations h of N rows, whose shape `SiteKind` gives, and z (N, D) to h'.

        Raises PluginError if the shape of h' does not agree with the `width` of the connection.
        """
        if self.connection is None:
            return h
        connected: Tensor = self.connection(h, z)
        expected = list(h.shape)
        expected[1 if self.site.kind is SiteKind.FEATURE_MAP else -1] = self.width
        if self.site.kind is SiteKind.MEMORY:
            expected[1:2] = connected.shape[1:2]
        if list(connected.shape) != expected:
            at = f"which connect_latent gave at {self.site.kind} site {self.site.index}"
            got, wanted = (f"a tensor of shape {tuple(shape)}" for shape in (connected.shape, expected))
            raise unexpected(f"{place_in_module(self.connection)}, {at}", got, wanted)
        return connected
