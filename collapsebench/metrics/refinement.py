"""The refinement of each example's posterior, for the inference gap."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from collapsebench.inference.amortized import Amortized
from collapsebench.model.distributions import DiagonalGaussian
from collapsebench.model.seeding import Noise
from collapsebench.model.vae import VAE


class AdamRefinement(Amortized):
    r"""Some steps of Adam on \((\mu, \ell)\) of each example, from the encoder's posterior, to lower the negative ELBO.

    Each step uses a fresh sample of z. The rate falls linearly to zero. Adam's steps do not depend on the scale of the
    gradient, so that the examples do not influence each other.
    """

    name: ClassVar[str] = "refined"
    needs_gradients: ClassVar[bool] = True

    steps: int
    learning_rate: float

    def posterior(self, vae: VAE, x: Tensor, noise: Noise) -> DiagonalGaussian:
        """Give the posterior after the last step. It may be worse than the first."""
        point = vae.encode(x).detach().parameters.requires_grad_()
        optimizer = torch.optim.Adam([point], lr=self.learning_rate)
        decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=self.steps)
        for step in range(self.steps):
            point.grad = path_gradient(vae, x, DiagonalGaussian.of(point.detach()), noise.child("refinement", step))
            optimizer.step()
            decay.step()
        return DiagonalGaussian.of(point.detach())


def path_gradient(vae: VAE, x: Tensor, posterior: DiagonalGaussian, noise: Noise) -> Float[Tensor, "2 B D"]:
    r"""Give \(\nabla_\lambda [\log q(z) - \log p(x, z)]\) through \(z = \mu + e^{\ell/2} \epsilon\) alone, by example.

    It is an unbiased gradient of the negative ELBO, as the part that it leaves out,
    \(\nabla_\lambda \log q_\lambda(z)\) at a fixed z, is zero on average. It has no noise at the exact posterior, where
    the term in brackets is the same for every z. The gradient with the analytic KL keeps the noise of the
    reconstruction (Roeder, Wu and Duvenaud, Sticking the Landing: Simple, Lower-Variance Gradient Estimators for
    Variational Inference, NeurIPS 2017).
    """
    point = posterior.parameters.requires_grad_()
    with torch.enable_grad():
        z = DiagonalGaussian.of(point).sample(noise.normal((1, *posterior.mean.shape), posterior.mean))
        log_ratio = posterior.log_prob(z) - vae.prior.log_prob(z) - vae.log_likelihood(x, z)
        (gradient,) = torch.autograd.grad(log_ratio.sum(), point)
    return gradient
