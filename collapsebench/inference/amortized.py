"""Amortized inference, the default strategy: q(z|x) is what the encoder says."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from collapsebench.components.interfaces import Inference

if TYPE_CHECKING:
    from torch import Tensor

    from collapsebench.model.distributions import DiagonalGaussian
    from collapsebench.model.seeding import Noise
    from collapsebench.model.vae import VAE, Objective, Terms


class Amortized(Inference):
    """One pass of the encoder, trained by a backward through it (Kingma and Welling 2014)."""

    name: ClassVar[str] = "amortized"
    citation: ClassVar[str] = "Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014"

    def posterior(self, vae: VAE, x: Tensor, noise: Noise) -> DiagonalGaussian:
        """q(z|x) of the encoder."""
        del noise
        return vae.encode(x)

    def gradients(self, vae: VAE, x: Tensor, objective: Objective) -> Terms:
        """Backward through decoder and encoder."""
        return objective(vae, x, vae.encode(x)).backward()
