"""What the methods of one contender ask of its posterior and prior, looked at before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from collapsebench.components.composition import check_needs, check_order, methods_of
from collapsebench.model.distributions import DiagonalGaussian
from collapsebench.model.modes import in_evaluation
from collapsebench.model.needs import Need

if TYPE_CHECKING:
    import pluggy

    from collapsebench.model.posterior import PosteriorDistribution
    from collapsebench.model.vae import VAE


def check_families(vae: VAE, hooks: pluggy.HookRelay) -> None:
    """Raise UsageError if heads stand in the wrong order, or if a method does not get what it needs.

    Most is known before, as methods say what they take away. Here it is looked at: the heads are tried on two standard
    normal posteriors. The modes of the modules are left as they were.
    """
    if not (vae.heads or hooks.prior.get_hookimpls()):
        return
    with torch.no_grad(), in_evaluation(vae):
        leaving = [name for name in vae.heads if not _is_gaussian(_tried(vae, [name]))]
        check_order(list(vae.heads), leaving)
        missing = _missing(vae, _tried(vae, list(vae.heads)))
    if missing:
        cause, *_ = *leaving, *(each.plugin_name for each in hooks.prior.get_hookimpls()), *vae.heads
        check_needs(methods_of(hooks), dict.fromkeys(missing, cause))


def _tried(vae: VAE, names: list[str]) -> PosteriorDistribution:
    """Give what these heads make of two standard normal posteriors."""
    like = next(vae.parameters())
    zeros = like.new_zeros(2, vae.latent_dim)
    posterior: PosteriorDistribution = DiagonalGaussian(zeros, zeros)
    if vae.encoder is not None:
        features = like.new_zeros(2, vae.encoder.width)  # type: ignore[call-overload]
        for name in names:
            posterior = vae.heads[name](posterior, features)
    return posterior


def _is_gaussian(posterior: object) -> bool:
    return isinstance(posterior, DiagonalGaussian)


def _missing(vae: VAE, posterior: PosteriorDistribution) -> list[Need]:
    """Give what this posterior does not have under the model's prior."""
    kl = vae.prior.kl(posterior)
    has = {
        Need.GAUSSIAN: _is_gaussian(posterior),
        Need.UNITS: kl is not None and kl.shape[1] == vae.latent_dim,
        Need.CLOSED_FORM: kl is not None,
    }
    return [need for need, met in has.items() if not met]
