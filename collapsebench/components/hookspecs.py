"""Every hook a plugin may implement, on one screen.

A plugin module implements `collapsebench_components`; a Method implements any subset of the method hooks.
*First result*: at most one method of a contender may give it, two are a conflict that is reported by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from torch import nn

    from collapsebench.components.interfaces import Component, Inference, Prior, Site

PROJECT = "collapsebench"
"""The entry point group of plugins, and the mark of their hooks."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True)
class Progress:
    """How far training is: the fraction of the budget spent, 0…1, and the number of steps done."""

    fraction: float
    step: int


class DiscoveryHooks:
    """What a plugin module may implement."""

    @hookspec
    def collapsebench_components(self) -> Iterable[type[Component]]:
        """Name the components of this plugin; the class says of which kind each one is."""
        raise NotImplementedError


class MethodHooks:
    """The anatomy of a VAE: what a Method may change."""

    @hookspec(firstresult=True)
    def connect_latent(self, site: Site) -> nn.Module | None:
        """How z enters the decoder at one site: a module (h, z) -> h', or None to leave the site as it is.

        Called once per site while the decoder is built. z is (N, D) for activations h of N examples. The module's
        attribute `width` is the width of h'; at a `vector` site it must equal `site.width`.
        """

    @hookspec
    def kl_weight(self, progress: Progress) -> float:
        """The weight of the KL term in the training objective; the weights of all methods are multiplied."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def prior(self, latent_dim: int) -> Prior | None:
        """The prior p(z), in place of N(0, I) over `latent_dim` units; its dimension is the model's."""

    @hookspec(firstresult=True)
    def inference(self) -> Inference | None:
        """How the posterior is found and trained, in place of amortized inference."""
