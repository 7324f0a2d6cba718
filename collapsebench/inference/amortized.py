"""Amortized inference, the default strategy: the encoder gives q(z|x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from collapsebench.components.interfaces import Inference

if TYPE_CHECKING:
    from torch import Tensor

    from collapsebench.model.posterior import PosteriorDistribution
    from collapsebench.model.seeding import Noise
    from collapsebench.model.vae import VAE, Objective, Terms


class Amortized(Inference):
    """The encoder gives q(z|x) in one pass, and a backward pass through it trains it (Kingma and Welling 2014).

    This decoder ignores z. So the loss is the KL of N(wx, 1), which is (wx)²/2, and its gradient by w is wx²:

    >>> import torch
    >>> from collapsebench import Amortized, DiagonalGaussian, Networks, Objective, SeededNoise, StandardNormal, VAE
    >>> class Head(torch.nn.Module):
    ...     def forward(self, features):
    ...         return DiagonalGaussian(features, torch.zeros_like(features))
    >>> class Decoder(torch.nn.Module):
    ...     def forward(self, x, z, dropout):
    ...         return torch.zeros(z.shape[:2])
    >>> encoder = torch.nn.Linear(1, 1, bias=False)
    >>> _ = torch.nn.init.constant_(encoder.weight, 3.0)
    >>> vae, x = VAE(Networks(encoder, Head(), Decoder()), StandardNormal(1)), torch.tensor([[2.0]])
    >>> Amortized().posterior(vae, x, SeededNoise(0)).mean.tolist()
    [[6.0]]
    >>> terms = Amortized().gradients(vae, x, Objective(SeededNoise(0)))
    >>> float(terms.loss), float(encoder.weight.grad)
    (18.0, 12.0)
    """

    name: ClassVar[str] = "amortized"
    citation: ClassVar[str] = "Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014"

    def posterior(self, vae: VAE, x: Tensor, noise: Noise) -> PosteriorDistribution:
        """Give q(z|x) by the encoder. It needs no noise."""
        del noise
        return vae.encode(x)

    def gradients(self, vae: VAE, x: Tensor, objective: Objective) -> Terms:
        """Leave the gradients of a backward pass through decoder and encoder in the parameters, and give the terms."""
        return objective(vae, x, vae.encode(x)).backward()
