"""Minimum desired rate: the KL is held above a rate by a Lagrange multiplier."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat, PrivateAttr

from collapsebench import Component, Family, Method, Range, SearchRange, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from collapsebench import LatentSample, Terms

FORGETTING, EPSILON = 0.99, 1e-8
"""Of RMSprop, as torch has them by default."""


class MDR(Method):
    r"""Minimum desired rate: the KL is held above a rate by a Lagrange multiplier.

    The negative ELBO is minimized under \(KL \ge r\), by descent on the model and ascent on the multiplier \(\lambda\):
    \(L = -\log p(x|z) + KL + |\lambda|\,(r - KL)\), in nats per example, with the batch mean of the KL (Pelsmaeker and
    Aziz 2020). The multiplier follows its gradient g by RMSprop: \(v \leftarrow .99 v + .01 g^2\), \(\lambda \leftarrow
    \lambda + \eta\, g / (\sqrt v + 10^{-8})\).

    - `nats` is r. It has no default that holds for all data.
    - `start` 1.01 and `learning_rate` 0.001 are those of the released program (tom-pelsmaeker/deep-generative-lm:
      model/base_decoder.py:299, util/settings.py). There the rate is the same as that of the model.
    - The program leaves the multiplier among the parameters of Adam, too, as it compares a wrong name
      (scripts/generative.py:66-68), so that it moves twice in a step. Here it moves once, as in the paper.
    - \(\lambda\) may become negative; its absolute value counts. KL weights of other methods multiply the constraint,
      too.
    - What is trained is no bound. The board shows the ELBO.
    - Tuned: `nats`, which the authors choose for each data set. The ends 1 and 25 are those of `capacity`.
    - Cost of a step: that of the plain VAE.
    - Neutral: `start=0`, where the multiplier has no gradient.
    """

    name: ClassVar[str] = "mdr"
    family: ClassVar[Family] = Family.OBJECTIVE
    neutral: ClassVar[dict[str, float]] = {"nats": 3, "start": 0}
    citation: ClassVar[str] = "Pelsmaeker and Aziz, Effective Estimation of Deep Generative Language Models, ACL 2020"
    search: ClassVar[dict[str, SearchRange]] = {"nats": Range(1, 25, log=True)}

    nats: NonNegativeFloat = Field(description="the rate r that the KL is to have at least, in nats", examples=[3])
    start: NonNegativeFloat = Field(1.01, description="the multiplier λ before the first step")
    learning_rate: NonNegativeFloat = Field(1e-3, description="step size η of the multiplier")
    _moved: float = PrivateAttr(0.0)
    _square: float = PrivateAttr(0.0)

    @property
    def multiplier(self) -> float:
        """The multiplier λ as it is now."""
        return self.start + self._moved

    @hookimpl
    def kl_penalty(self, sample: LatentSample) -> Tensor:
        """Give the KL and the constraint, (B,), in nats."""
        kl = sample.kl.sum(-1)
        return kl + abs(self.multiplier) * (self.nats - kl)

    @hookimpl
    def after_step(self, terms: Terms) -> None:
        """Let the multiplier ascend."""
        missing = self.nats - float(terms.kl.sum(-1).mean())
        gradient = missing * ((self.multiplier > 0) - (self.multiplier < 0))  # of |λ| times what is missing
        self._square = FORGETTING * self._square + (1 - FORGETTING) * gradient**2
        self._moved += self.learning_rate * gradient / (math.sqrt(self._square) + EPSILON)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [MDR]
