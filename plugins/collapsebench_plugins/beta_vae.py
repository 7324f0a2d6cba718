"""β-VAE: a constant weight of the KL term."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, NonNegativeFloat

from collapsebench import Component, Family, Method, Range, SearchRange, hookimpl


class BetaVAE(Method):
    r"""β-VAE: the KL term has a constant weight.

    \(L = -\log p(x|z) + \beta\, KL(q \| p)\), in nats per example. This is the objective of Higgins et al. (2017). They
    take \(\beta > 1\), so that the units become independent. Against collapse \(\beta < 1\) is used: He et al. (Lagging
    Inference Networks, ICLR 2019) try 0.2, 0.4, 0.6 and 0.8 on text. The default is one of these four, as no value is
    the authors' for all data.

    What is trained is a lower bound of the likelihood for \(\beta \ge 1\) only. The board shows the bound of weight 1.

    - Tuned: `beta` from 0.2 to 0.8, the grid of He et al.
    - Cost of a step: that of the plain VAE.
    - Neutral: `beta=1`.
    """

    name: ClassVar[str] = "beta-vae"
    family: ClassVar[Family] = Family.OBJECTIVE
    neutral: ClassVar[dict[str, float]] = {"beta": 1}
    citation: ClassVar[str] = "Higgins et al., beta-VAE, ICLR 2017"
    search: ClassVar[dict[str, SearchRange]] = {"beta": Range(0.2, 0.8)}

    beta: NonNegativeFloat = Field(0.4, description="weight β of the KL term")

    @hookimpl
    def kl_weight(self) -> float:
        """Give β."""
        return self.beta


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [BetaVAE]
