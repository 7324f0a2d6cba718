"""A better posterior for each example than the encoder's, for the inference gap."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from collapsebench.inference.amortized import Amortized
from collapsebench.model.distributions import DiagonalGaussian
from collapsebench.model.seeding import Noise
from collapsebench.model.vae import VAE


class Refined(Amortized):
    r"""The encoder's posterior of each example after some steps of Adam on \((\mu, \ell)\), down the negative ELBO.

    One fresh sample of z a step, the rate falling linearly to zero. The examples go their own ways: Adam's steps do not
    depend on the scale of a gradient.
    """

    name: ClassVar[str] = "refined"

    steps: int
    learning_rate: float

    def posterior(self, vae: VAE, x: Tensor, noise: Noise) -> DiagonalGaussian:
        """The point after the last step, which may be worse than the first."""
        point = vae.encode(x).detach().parameters.requires_grad_()
        optimizer = torch.optim.Adam([point], lr=self.learning_rate)
        decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=self.steps)
        for step in range(self.steps):
            point.grad = path_gradient(vae, x, DiagonalGaussian.of(point.detach()), noise.child("refinement", step))
            optimizer.step()
            decay.step()
        return DiagonalGaussian.of(point.detach())


def path_gradient(vae: VAE, x: Tensor, posterior: DiagonalGaussian, noise: Noise) -> Float[Tensor, "2 B D"]:
    r"""\(\nabla_\lambda [\log q(z) - \log p(x, z)]\) through \(z = \mu + e^{\ell/2} \epsilon\) alone, of every example.

    Unbiased for the gradient of the negative ELBO: what it leaves out, \(\nabla_\lambda \log q_\lambda(z)\) at a fixed
    z, is zero on average. Without noise at the exact posterior, where the bracket is the same for every z; with the
    analytic KL the noise of the reconstruction would remain (Roeder, Wu and Duvenaud, Sticking the Landing: Simple,
    Lower-Variance Gradient Estimators for Variational Inference, NeurIPS 2017).
    """
    point = posterior.parameters.requires_grad_()
    with torch.enable_grad():
        z = DiagonalGaussian.of(point).sample(noise.normal((1, *posterior.mean.shape), posterior.mean))
        log_ratio = posterior.log_prob(z) - vae.prior.log_prob(z) - vae.log_likelihood(x, z)
        (gradient,) = torch.autograd.grad(log_ratio.sum(), point)
    return gradient
