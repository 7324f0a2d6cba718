"""Tilted VAE: a prior whose mass lies on a shell, and posteriors of unit variance."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveFloat

from collapsebench import Component, Family, Method, Need, Prior, Range, SearchRange, hookimpl

if TYPE_CHECKING:
    from torch import Tensor, nn

    from collapsebench import LatentSample


class Tilted(Method):
    r"""Tilted VAE: the prior is tilted outwards, and the posterior has unit variance.

    \(p(z) = e^{\tau |z|} N(z; 0, I)/Z\) and \(q(z|x) = N(z; m(x), I)\) (Floto et al. 2023). The KL in nats is \(\ln Z -
    \tau E_q|z| + |m|^2/2\). It is least, and above 0, where \(|m|\) is some γ. In training \(\frac12 (|m| - \gamma)^2\)
    takes its place, as in gfloto/tilted_prior (model/loss.py:22-48). That is no KL: it is 0 at γ, and close to the KL
    less its least value there alone. The board shows the ELBO with the exact KL.

    - `tau` has no default in the authors' program, which trains a plain VAE without it; its README shows 10. Here it
      is 5.
    - γ is the root of the derivative. The program's finite differences end up to 3e-7 away (util/get_gamma.py:6-26).
    - Its reconstruction is the L2 norm of a difference, which is no likelihood, or a cross-entropy of 256 levels.
      Neither is shipped: here it is the likelihood of the track. Nor is the program's burn-in of the decoder.
    - What is trained is no bound, as the term leaves out the least KL and more. That the KL cannot fall below it does
      not say that z is used: one mean of length γ for all x has the least KL. There is none per unit. The encoder's
      log-variances are not used, of which a warning tells.
    - Tuned: `tau` from half to twice the 10 of the README.
    - Cost of a step: that of the plain VAE, and \(5 B D\) elementwise operations. Where the KL is reported, scipy gives
      B values of a hypergeometric function on the CPU, for which a GPU waits.
    - Neutral: none. A method that changes the encoder's posterior stands before it.
    """

    name: ClassVar[str] = "tilted"
    family: ClassVar[Family] = Family.DISTRIBUTIONS
    citation: ClassVar[str] = (
        "Floto, Kremer, Nica, The Tilted Variational Autoencoder: Improving Out-of-Distribution Detection, ICLR 2023"
    )
    search: ClassVar[dict[str, SearchRange]] = {"tau": Range(5, 20, log=True)}

    tau: PositiveFloat = Field(5.0, description="the tilt τ")

    def takes(self) -> frozenset[Need]:
        """Say that the variances are one, and the KL is of all units together."""
        return frozenset({Need.GAUSSIAN, Need.UNITS})

    @hookimpl
    def posterior_head(self) -> nn.Module:
        """Build the step to unit variances."""
        from collapsebench_plugins.tilt import UnitVariances

        return UnitVariances()

    @hookimpl
    def prior(self, latent_dim: int) -> Prior:
        """Give the tilted prior."""
        from collapsebench_plugins.tilt import TiltedPrior

        return TiltedPrior(latent_dim=latent_dim, tau=self.tau)

    @hookimpl
    def kl_penalty(self, sample: LatentSample) -> Tensor:
        r"""Give \(\frac12 (|m| - \gamma)^2\), (B,), in nats."""
        from collapsebench_plugins.tilt import best_length

        mean = sample.posterior.mean
        length: Tensor = mean.norm(dim=-1)
        return (length - best_length(mean.shape[1], self.tau)).square() / 2


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [Tilted]
