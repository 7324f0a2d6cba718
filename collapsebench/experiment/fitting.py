"""What the methods of one contender ask of its posterior and prior, looked at before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from collapsebench.components.composition import methods_of
from collapsebench.components.interfaces import Method
from collapsebench.errors import UsageError
from collapsebench.model.distributions import DiagonalGaussian
from collapsebench.model.needs import Need

if TYPE_CHECKING:
    import pluggy

    from collapsebench.model.posterior import PosteriorDistribution
    from collapsebench.model.vae import VAE


def check_families(vae: VAE, hooks: pluggy.HookRelay) -> None:
    """Raise UsageError if heads stand in the wrong order, or if a method does not get what it needs.

    The heads are tried on two standard normal posteriors. The modes of the modules are left as they were.
    """
    if not (vae.heads or hooks.prior.get_hookimpls()):
        return
    modes = [(module, module.training) for module in vae.modules()]
    vae.eval()
    try:
        with torch.no_grad():
            leaving = [name for name in vae.heads if not _is_gaussian(_tried(vae, [name]))]
            _check_order(list(vae.heads), leaving)
            met = _met(vae, _tried(vae, list(vae.heads)))
    finally:
        for module, training in modes:
            module.training = training
    causes = leaving or [each.plugin_name for each in hooks.prior.get_hookimpls()]
    for method in methods_of(hooks):
        _check_needs(method, met, causes)


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


def _check_order(names: list[str], leaving: list[str]) -> None:
    if len(leaving) > 1:
        raise UsageError(
            f"methods {' and '.join(map(repr, leaving))} both leave the diagonal Gaussians: they cannot be combined"
        )
    behind = names[names.index(leaving[0]) + 1 :] if leaving else []
    if behind:
        raise UsageError(
            f"method '{leaving[0]}' leaves the diagonal Gaussians, which '{behind[0]}' changes: write {behind[0]} "
            f"before {leaving[0]}"
        )


def _met(vae: VAE, posterior: PosteriorDistribution) -> set[Need]:
    """Give the needs that this posterior meets under the model's prior."""
    kl = vae.prior.kl(posterior)
    met = set()
    if _is_gaussian(posterior):
        met.add(Need.GAUSSIAN)
    if kl is not None:
        met.add(Need.CLOSED_FORM)
        if kl.shape[1] == vae.latent_dim:
            met.add(Need.UNITS)
    return met


def _check_needs(method: Method, met: set[Need], causes: list[str]) -> None:
    missing = [need for need in Need if need in method.needs() and need not in met]
    if missing:
        raise UsageError(
            f"method '{method.name}' needs {missing[0]}, which '{causes[0]}' takes away: they cannot be combined"
        )
