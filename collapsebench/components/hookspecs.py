"""Every hook that a plugin may implement, on one screen.

A plugin module implements `collapsebench_components`. A Method implements some of the method hooks. *First result*
means that at most one method of a contender may give it: two are a conflict, which is reported by name.
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
"""The mark of a function that implements a hook.

>>> from collapsebench import hookimpl
>>> @hookimpl
... def collapsebench_components():
...     return []
>>> collapsebench_components()
[]
"""


@dataclass(frozen=True)
class Progress:
    """The state of training: the fraction of the budget that is spent, 0…1, and the number of steps that are done.

    >>> from collapsebench import Progress
    >>> Progress(fraction=0.25, step=100).fraction
    0.25
    """

    fraction: float
    step: int


class DiscoveryHooks:
    """The hook of a plugin module."""

    @hookspec
    def collapsebench_components(self) -> Iterable[type[Component]]:
        """Name the components of this plugin. Each class says of which kind it is."""
        raise NotImplementedError


class MethodHooks:
    """The anatomy of a VAE: the hooks of a Method."""

    @hookspec(firstresult=True)
    def connect_latent(self, site: Site) -> nn.Module | None:
        """Give the module (h, z) -> h' by which z enters the decoder at one site, or None to leave the site as it is.

        Called once for each site while the decoder is built. z is (N, D) for activations h of N examples. The
        module's attribute `width` is the width of h'. At a `vector` site it must equal `site.width`.
        """

    @hookspec
    def kl_weight(self, progress: Progress) -> float:
        """Give the weight of the KL term in the training objective. The weights of all methods are multiplied."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def prior(self, latent_dim: int) -> Prior | None:
        """Give the prior p(z), in place of N(0, I) over `latent_dim` units. Its dimension is the model's.

        The density must integrate to one, and the KL must be that of the density and no estimate: both are checked.
        """

    @hookspec(firstresult=True)
    def inference(self) -> Inference | None:
        """Give the strategy by which the posterior is found and trained, in place of amortized inference."""
