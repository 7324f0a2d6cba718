"""Power spherical posteriors: codes on a sphere around directions, without Bessel functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveFloat

from collapsebench import Component, Family, Method, Need, Prior, hookimpl

if TYPE_CHECKING:
    from torch import nn


class PowerSphericalVAE(Method):
    r"""Power spherical VAE: the posterior is a power of the cosine on the unit sphere.

    \(q(z|x) = C\, (1 + \mu^\top z)^\kappa\), where μ is the encoder's mean divided by its length (De Cao and Aziz
    2020). The prior is uniform there. With \(\beta = (D-1)/2\), \(\alpha = \kappa + \beta\) and the area \(|S|\),
    \(C = \Gamma(\alpha + \beta) / [2^{\alpha+\beta} \pi^\beta \Gamma(\alpha)]\), and the KL is \(\ln C + \kappa\,
    (\ln 2 + \psi(\alpha) - \psi(\alpha + \beta)) + \ln |S|\) nats. Densities are those on the surface. The cosine is
    2b - 1, b from Beta(α, β).

    - `kappa` is fixed, or by default learned: 1 + softplus of a linear layer on the encoder's features, as in the
      hyperspherical VAE of Davidson et al. (2018; nicola-decao/s-vae-pytorch: examples/mnist.py). The released program
      is the distribution alone (nicola-decao/power_spherical: power_spherical/distributions.py), without a VAE.
    - Its constants of 1e-7 in norms move draws by 3e-7. Here they are left out.
    - b is the inverse of its distribution function at a uniform draw. Its gradient by κ is that at a fixed draw, which
      an integral of 64 nodes gives, as far as second derivatives.
    - A fixed κ has a KL that cannot change. That it is above 0 does not say that z is used. A learned one can collapse
      to κ = 1, whose KL is above 0. There is no KL per unit. The encoder's log-variances are not used, of which a
      warning tells. A mean of zeros counts as the first axis.
    - Active units are counted by \(E_q[z] = \kappa \mu / (\kappa + D - 1)\), whose variances sum to at most one.
    - What is trained and shown is the ELBO.
    - Cost of a step: that of the plain VAE, a layer of one unit, and about \(20 B D + 1500 B\) elementwise operations,
      which FLOPs do not count. scipy gives the B inverses on the CPU, for which a GPU waits.
    - Neutral: none. It needs two units or more. A method that changes the encoder's posterior stands before it.
    """

    name: ClassVar[str] = "power-spherical"
    family: ClassVar[Family] = Family.DISTRIBUTIONS
    citation: ClassVar[str] = "De Cao and Aziz, The Power Spherical Distribution, arXiv:2006.04437, 2020"

    kappa: PositiveFloat | None = Field(None, description="the fixed concentration κ; by default it is learned")

    def takes(self) -> frozenset[Need]:
        """Say that the KL is of all units together."""
        return frozenset({Need.GAUSSIAN, Need.UNITS})

    @hookimpl
    def posterior_head(self, width: int) -> nn.Module:
        """Build the step to the sphere."""
        from collapsebench_plugins.powers import PowerAroundTheMean

        return PowerAroundTheMean(width, self.kappa)

    @hookimpl
    def prior(self, latent_dim: int) -> Prior:
        """Give the uniform prior."""
        from collapsebench_plugins.spheres import UniformPrior

        return UniformPrior(latent_dim=latent_dim)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [PowerSphericalVAE]
