"""DU-VAE: batch normalization of the means, and dropout of the variances."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, cast

from pydantic import Field, NonNegativeFloat, PositiveFloat

from collapsebench import Component, Family, Method, Range, SearchRange, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from collapsebench import VAE, Terms


class DUVAE(Method):
    r"""DU-VAE: normalized means keep posteriors apart, and dropped variances keep some narrow.

    The means are normalized as by `bn-vae`, with a learned scale w of the root mean square \(\gamma\). The variance is
    \(e^{\ell} + f\) with the floor \(f = \alpha / 2 \pi e\), and in training \(e^{\ell} k/(1-p) + f\), where k is 0
    with probability p and 1 otherwise, for each example and unit (Shen et al. 2021; SmilesDZgk/DU-VAE:
    modules/encoders/enc_lstm.py:88-119, encoder.py:46-73). KL and z are those of this posterior; the KL is in nats.

    - `gamma` 0.5, `rate` p 0.2, `floor` \(\alpha\) 1: of the authors' runs on Omniglot (models/omniglot). Their text.py
      has 1, 0.5 and 1 by default.
    - While the KL weight is below 1 there is neither floor nor dropout. So the floor appears suddenly when annealing
      ends. Here this follows from the weight of the step before.
    - The program rescales w before each pass, also in evaluation; here it is done after each step, where w changes. The
      gradient does not go through it.
    - What is trained and shown is the ELBO of the posterior with its floor; in evaluation nothing is dropped.
    - Tuned: `gamma` and `rate` between these two sets of values.
    - Cost of a step: that of the plain VAE, and \(B D\) elementwise operations.
    - Neutral: none.
    """

    name: ClassVar[str] = "du-vae"
    family: ClassVar[Family] = Family.NETWORKS
    citation: ClassVar[str] = (
        "Shen et al., Regularizing Variational Autoencoder with Diversity and Uncertainty Awareness, IJCAI 2021"
    )
    search: ClassVar[dict[str, SearchRange]] = {"gamma": Range(0.5, 1), "rate": Range(0.2, 0.5)}

    gamma: PositiveFloat = Field(0.5, description="root mean square γ of the scales of the normalized means")
    rate: Annotated[float, Field(ge=0, lt=1)] = Field(0.2, description="probability p that a variance is dropped")
    floor: NonNegativeFloat = Field(1.0, description="α; the floor of a variance is α/2πe")

    @hookimpl
    def posterior_head(self, latent_dim: int) -> nn.Module:
        """Build normalization and dropout."""
        from collapsebench_plugins.normalization import DroppedVariances

        floor = self.floor / (2 * math.pi * math.e)
        return DroppedVariances(latent_dim, self.gamma, rate=self.rate, floor=floor)

    @hookimpl
    def after_step(self, vae: VAE, terms: Terms) -> None:
        """Rescale w, and take note whether annealing is over."""
        from collapsebench_plugins.normalization import DroppedVariances

        head = cast("DroppedVariances", vae.heads[self.name])
        head.rescale()
        head.annealed.fill_(terms.kl_weight >= 1)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [DUVAE]
