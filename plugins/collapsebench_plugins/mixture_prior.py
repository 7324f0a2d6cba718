"""A prior that is a learned mixture of diagonal Gaussians."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveInt

from collapsebench import Component, Family, IntegerRange, Method, Need, Prior, SearchRange, hookimpl

if TYPE_CHECKING:
    from collapsebench_plugins.mixtures import LearnedMixture


class Weights(StrEnum):
    """The weights of the components."""

    EQUAL = "equal"
    LEARNED = "learned"


class GaussianMixture(Prior):
    """A learned mixture of diagonal Gaussians."""

    name: ClassVar[str] = "gaussian-mixture"

    latent_dim: PositiveInt = Field(description="latent units")
    number: PositiveInt = Field(description="number of components")
    spread: NonNegativeFloat = Field(description="standard deviation of the first means")
    weights: Weights = Field(description="whether weights are equal or learned")

    def build(self) -> LearnedMixture:
        """Build the module with the parameters of the components."""
        from collapsebench_plugins.mixtures import LearnedMixture

        learned = self.weights is Weights.LEARNED
        return LearnedMixture(self.number, self.latent_dim, spread=self.spread, learned_weights=learned)


class MixturePrior(Method):
    r"""Mixture prior: the prior is a learned mixture of K diagonal Gaussians.

    \(p(z) = \sum_c w_c\, N(z; m_c, \mathrm{diag}(e^{k_c}))\) with \(w_c = 1/K\), which is trained with the
    networks: the "MoG" of Tomczak and Welling (2018), to which they compare the VampPrior. The KL has no closed form:
    \(\log q(z|x) - \log p(z)\) in nats at the sample takes its place. With K = 1 it is that of two Gaussians, per unit.

    - `components` K: 500, as of `vamp-prior`, so that both have as many. The authors' program has no such prior
      (jmtomczak/vae_vampprior: models/VAE.py:192-220), so the following settings are choices of this program.
    - `spread` 1 is the standard deviation of the first means; the first log-variances are 0. With `spread=0` the prior
      is N(0, I) before the first step, and all components stay equal.
    - `weights`: equal; with learned, they are \(w = \mathrm{softmax}(a)\), and the logits a start at 0.
    - Nothing holds components apart or in place: one that no posterior comes near has hardly a gradient.
    - What is trained and shown is the ELBO. There is no KL per unit but with K = 1.
    - Tuned: `components` from 50 to 500, as of `vamp-prior`.
    - Cost of a step: that of the plain VAE and \(12 K B D\) FLOPs.
    - Neutral: none.
    """

    name: ClassVar[str] = "mixture-prior"
    family: ClassVar[Family] = Family.DISTRIBUTIONS
    citation: ClassVar[str] = "Tomczak, Welling, VAE with a VampPrior, AISTATS 2018"
    search: ClassVar[dict[str, SearchRange]] = {"components": IntegerRange(50, 500, log=True)}

    components: PositiveInt = Field(500, description="number K of Gaussians")
    spread: NonNegativeFloat = Field(1.0, description="standard deviation of the first means")
    weights: Weights = Field(Weights.EQUAL, description="whether weights are equal or learned")

    def takes(self) -> frozenset[Need]:
        """Say that the KL to a mixture has no closed form."""
        return frozenset({Need.UNITS, Need.CLOSED_FORM} if self.components > 1 else ())

    @hookimpl
    def prior(self, latent_dim: int) -> Prior:
        """Give the mixture."""
        return GaussianMixture(latent_dim=latent_dim, number=self.components, spread=self.spread, weights=self.weights)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin and its prior."""
    return [MixturePrior, GaussianMixture]
