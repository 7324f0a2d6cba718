"""Every hook that a plugin may implement, on one screen.

A plugin module implements `collapsebench_components`. A Method implements some of the method hooks. *First result*
means that at most one method of a contender may give it: two are a conflict, which is reported by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from torch import Tensor, nn

    from collapsebench.components.interfaces import Component, Decoder, Encoder, Inference, Prior, Site
    from collapsebench.examples import DataSpec
    from collapsebench.model.progress import Progress
    from collapsebench.model.seeding import Noise
    from collapsebench.model.vae import VAE, LatentSample, Terms

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


class DiscoveryHooks:
    """The hook of a plugin module."""

    @hookspec
    def collapsebench_components(self) -> Iterable[type[Component]]:
        """Name the components of this plugin. Each class says of which kind it is."""
        raise NotImplementedError


class MethodHooks:
    """The anatomy of a VAE: the hooks of a Method."""

    @hookspec
    def check_fit(self, data: DataSpec, encoder: Encoder | None, decoder: Decoder) -> None:
        """Raise UsageError, in one line that names the method, if it does not fit the data or the networks of a track.

        Called while a plan is made, so that nothing runs, and without torch. A contender whose inference leaves the
        encoder out has None. What has been refused here need not be looked for in other hooks.
        """

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

    @hookspec
    def learning_rate(self, progress: Progress) -> float:
        """Give a factor from 0 on for the learning rate of this step. The factors of all methods are multiplied.

        They multiply the rate of the track, as its decay on a plateau has left it. What ends a decay is that rate.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def kl_penalty(self, sample: LatentSample) -> Tensor | None:
        """Give what stands in the training objective for the KL of each example: (B,), or a scalar for the whole batch.

        It is in nats per example, and the KL weights multiply it. None means the KL. The metrics never see it.
        """

    @hookspec
    def extra_loss(self, sample: LatentSample) -> Tensor | None:
        """Give a scalar in nats per example, which is added to the training objective. No KL weight multiplies it.

        Those of all methods are summed, in the order in which the methods are written. None adds nothing.
        """

    @hookspec
    def posterior_head(self, latent_dim: int, width: int) -> nn.Module:
        """Give a module (q, features) -> q' that changes the posterior of the encoder, in training and in evaluation.

        q is a DiagonalGaussian (B, D), `features` are (B, width), and q' is any PosteriorDistribution (B, D). Several
        are applied in the order in which the methods are written. Only the last one may leave the diagonal Gaussians.
        The module is found as `vae.heads[NAME]`, and starts as its constructor draws it. A contender whose inference
        has no encoder cannot have one.
        """
        raise NotImplementedError

    @hookspec
    def auxiliary_module(self, latent_dim: int, data: DataSpec) -> nn.Module:
        """Give a module of the method's own, such as a classifier of codes. Each method may give one.

        It is found as `vae.auxiliary[NAME]`, under the name of the method. It is trained, counted and kept in
        checkpoints like the networks. Its constructor draws its first values: the track's rule is not applied.
        """
        raise NotImplementedError

    @hookspec
    def corrupt_decoder_input(self, x: Tensor, noise: Noise) -> Tensor:
        """Give what the decoder reads in place of the examples x, in training. It still scores x.

        Several methods are applied in the order in which they are written. A decoder that reads nothing is an error.
        """
        raise NotImplementedError

    @hookspec
    def modules_to_reset(self, vae: VAE, progress: Progress) -> Iterable[nn.Module]:
        """Give the modules that are drawn again before this step, as they were before the first. Their moments go.

        Those of all methods are reset. What a method keeps changes in `after_step` alone.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def modules_to_update(self, vae: VAE, progress: Progress) -> Iterable[nn.Module] | None:
        """Give the modules that this step updates, or None for all. The others keep their parameters and moments.

        All gradients are computed and clipped together before. What a method keeps changes in `after_step` alone.
        """

    @hookspec
    def after_step(self, vae: VAE, x: Tensor, terms: Terms, progress: Progress) -> None:
        """Look at a step that is done, and change what the method keeps: a multiplier, a running mean.

        The parameters are already updated; `terms` and `progress` are those that the step began with. What is done here
        is a part of the step: it costs time and FLOPs.
        """

    @hookspec(firstresult=True)
    def prior(self, latent_dim: int, data: DataSpec, width: int | None) -> Prior | None:
        """Give the prior p(z), in place of N(0, I) over `latent_dim` units. Its dimension is the model's.

        `width` is that of the encoder's features, None without an encoder. The density must integrate to one, and its
        KL must be that of the density and no estimate: both are checked. Without a closed form the KL is None. A prior
        that depends on the networks has `of(vae)`, which gives the density for the networks as they are. Raises
        UsageError for what it does not fit.
        """

    @hookspec(firstresult=True)
    def inference(self) -> Inference | None:
        """Give the strategy by which the posterior is found and trained, in place of amortized inference.

        The strategy says by `excludes` which hooks have no meaning beside it. A method that gives one is an error.
        """
