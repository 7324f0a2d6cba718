"""The refinement of each example's posterior, for the inference gap."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from collapsebench.inference.amortized import Amortized
from collapsebench.model.posterior import PosteriorDistribution
from collapsebench.model.seeding import Noise
from collapsebench.model.vae import VAE


class AdamRefinement(Amortized):
    r"""Some steps of Adam on each example's variational parameters, from the encoder's, to lower the negative ELBO.

    Each step uses a fresh sample of z. The rate falls linearly to zero. Adam's steps do not depend on the scale of the
    gradient, so that the examples do not influence each other.
    """

    name: ClassVar[str] = "refined"
    needs_gradients: ClassVar[bool] = True

    steps: int
    learning_rate: float

    def posterior(self, vae: VAE, x: Tensor, noise: Noise) -> PosteriorDistribution:
        """Give the posterior after the last step. It may be worse than the first."""
        start = vae.encode(x).detach()
        point = start.parameters.clone().requires_grad_()
        optimizer = torch.optim.Adam([point], lr=self.learning_rate)
        decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=self.steps)
        for step in range(self.steps):
            point.grad = path_gradient(vae, x, start.at(point.detach()), noise.child("refinement", step))
            optimizer.step()
            decay.step()
        return start.at(point.detach())


def path_gradient(vae: VAE, x: Tensor, posterior: PosteriorDistribution, noise: Noise) -> Float[Tensor, "P B D"]:
    r"""Give \(\nabla_\lambda [\log q(z) - \log p(x, z)]\) through the draw of z alone, by example.

    It is an unbiased gradient of the negative ELBO, as the part that it leaves out,
    \(\nabla_\lambda \log q_\lambda(z)\) at a fixed z, is zero on average. It has no noise at the exact posterior, where
    the term in brackets is the same for every z. The gradient with the analytic KL keeps the noise of the
    reconstruction (Roeder, Wu and Duvenaud, Sticking the Landing: Simple, Lower-Variance Gradient Estimators for
    Variational Inference, NeurIPS 2017).
    """
    point = posterior.parameters.clone().requires_grad_()
    with torch.enable_grad():
        z = posterior.at(point).draws((noise,)).z
        log_ratio = posterior.log_prob(z) - vae.prior.log_prob(z) - vae.log_likelihood(x, z)
        (gradient,) = torch.autograd.grad(log_ratio.sum(), point)
    return gradient
