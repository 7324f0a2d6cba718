"""The best posterior that can be found for each example, for the inference gap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from collapsebench.components import Inference
from collapsebench.distributions import DiagonalGaussian
from collapsebench.inference import Amortized
from collapsebench.metrics.estimators import curve_sizes
from collapsebench.seeding import Noise
from collapsebench.vae import VAE, Objective


class Refined(Amortized):
    r"""The best of some posteriors of each example: the encoder's, those on a path from it downhill, and another.

    The path is of Adam on \((\mu, \ell)\) under the plain negative ELBO, one fresh sample of z a step, the rate falling
    linearly to zero. Adam's steps do not depend on the scale of a gradient, so not on the batch size either. Candidates
    are the points after 1, 2, 4, … steps and the last; the choice is by `draws` samples of z, the same for all of them.
    """

    name: ClassVar[str] = "refined"

    other: Inference
    steps: int
    learning_rate: float
    draws: int

    def posterior(self, vae: VAE, x: Tensor, noise: Noise) -> DiagonalGaussian:
        """The best of the candidates, each example's own; the encoder's where none is better."""
        best = vae.encode(x).detach()
        lowest = self._bound(vae, x, best, noise)
        for candidate in (self.other.posterior(vae, x, noise).detach(), *self._path(vae, x, best, noise)):
            bound = self._bound(vae, x, candidate, noise)
            better = bound < lowest
            best = DiagonalGaussian.of(torch.where(better[:, None], candidate.parameters, best.parameters))
            lowest = torch.where(better, bound, lowest)
        return best

    def _path(self, vae: VAE, x: Tensor, start: DiagonalGaussian, noise: Noise) -> Iterator[DiagonalGaussian]:
        point, sizes = start.parameters.requires_grad_(), curve_sizes(self.steps)
        optimizer = torch.optim.Adam([point], lr=self.learning_rate)
        decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=self.steps)
        for step in range(self.steps):
            drawn = noise.child("refinement", step)
            point.grad = Objective(drawn, training=False).gradient(vae, x, DiagonalGaussian.of(point), drawn).posterior
            optimizer.step()
            decay.step()
            if step + 1 in sizes:
                yield DiagonalGaussian.of(point.detach().clone())

    def _bound(self, vae: VAE, x: Tensor, posterior: DiagonalGaussian, noise: Noise) -> Float[Tensor, " B"]:
        """The negative ELBO in nats, by samples that do not depend on the posterior."""
        with torch.no_grad():
            terms = [
                Objective(noise.child("choice", draw), training=False)(vae, x, posterior) for draw in range(self.draws)
            ]
            return torch.stack([term.reconstruction for term in terms]).mean(0) + terms[0].kl.sum(-1)
