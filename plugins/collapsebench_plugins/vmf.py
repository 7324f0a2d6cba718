"""vMF-VAE: codes on a sphere around directions, with a fixed concentration, so that the KL cannot change."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveFloat

from collapsebench import Component, Family, Method, Need, Prior, Range, SearchRange, hookimpl

if TYPE_CHECKING:
    from torch import nn


class VMF(Method):
    r"""vMF-VAE: the posterior is a von Mises-Fisher distribution on the unit sphere.

    \(q(z|x) = C_D(\kappa)\, e^{\kappa \mu^\top z}\), where μ is the encoder's mean divided by its length, and
    \(C_D(\kappa) = \kappa^{D/2-1} / [(2\pi)^{D/2} I_{D/2-1}(\kappa)]\) (Xu and Durrett 2018). The KL is \(\kappa
    A_D(\kappa) + \ln C_D(\kappa) + \ln |S|\) nats for every x, with \(A_D = I_{D/2}/I_{D/2-1}\) and the area \(|S|\).
    The prior is uniform there. Densities are those on the surface. z is drawn by Wood's rejection.

    - `kappa`: 80 by default in the authors' program (jiacheng-xu/vmf_vae_nlp), and 35 for PTB (its issue 7). At D = 32,
      13 gives 2.17 nats, 25 gives 5.76, and 100 gives 20.76.
    - The KL that this program trains and reports is that of D + 2 dimensions (NVLL/distribution/vmf_batch.py,
      `_vmf_kld`): off by -4 to +3 % at D = 32. Here it is that of D, as in `_vmf_kld_davidson` of the same file and in
      zhangjf-nlp/DG-VAEs (modules/encoders/utils.py:67-174). Their Bessel functions end at κ of about 700, not here.
    - Its penalty on the length of the encoder's mean is left out, as the length changes nothing.
    - DG-VAEs draws the cosine from a table of its inverse distribution function, which rounds it. Here draws are exact.
      Its density gap of such posteriors is not shipped: `dg-vae` is that of the paper's Gaussians, unit by unit.
    - The KL is no choice of the model: that it is above 0 does not say that z is used, and there is none per unit. The
      encoder's log-variances are not used, of which a warning tells. A mean of zeros counts as the first axis.
    - Active units are counted by \(E_q[z] = A_D \mu\), whose variances sum to at most one.
    - What is trained and shown is the ELBO. The cosine of z and μ has no gradient and needs none, as κ is fixed.
    - Tuned: `kappa` from 13 to 200, the table of zhangjf-nlp/DG-VAEs (args_settings.py).
    - Cost of a step: that of the plain VAE, and about \(30 B D\) elementwise operations, which FLOPs do not count.
      A GPU waits until all draws are accepted.
    - Neutral: none. It needs two units or more. A method that changes the encoder's posterior stands before it.
    """

    name: ClassVar[str] = "vmf"
    family: ClassVar[Family] = Family.DISTRIBUTIONS
    citation: ClassVar[str] = "Xu and Durrett, Spherical Latent Spaces for Stable Variational Autoencoders, EMNLP 2018"
    search: ClassVar[dict[str, SearchRange]] = {"kappa": Range(13, 200, log=True)}

    kappa: PositiveFloat = Field(80.0, description="the fixed concentration κ")

    def takes(self) -> frozenset[Need]:
        """Say that the KL is in closed form, of all units together."""
        return frozenset({Need.GAUSSIAN, Need.UNITS})

    @hookimpl
    def posterior_head(self) -> nn.Module:
        """Build the step to the sphere."""
        from collapsebench_plugins.von_mises import AroundTheMean

        return AroundTheMean(self.kappa)

    @hookimpl
    def prior(self, latent_dim: int) -> Prior:
        """Give the uniform prior."""
        from collapsebench_plugins.spheres import UniformPrior

        return UniformPrior(latent_dim=latent_dim)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [VMF]
