"""GECO: the KL weight follows from a reconstruction error that is asked for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveFloat, PrivateAttr

from collapsebench import Component, Family, Method, hookimpl

if TYPE_CHECKING:
    from collapsebench import Terms

SMALLEST, LARGEST = 1e-10, 1e10
"""The limits of the weight in the released program."""

ENOUGH = 50.0
"""A step of this size leads from one limit to the other, and a larger one no further."""


class GECO(Method):
    r"""GECO: the KL weight falls while the reconstruction error is above a goal.

    The KL is minimized under \(-\log p(x|z) \le g\): \(L = -\log p(x|z) + \beta_t\, KL\) in nats per example,
    \(\beta_{t+1} = \beta_t \exp(\eta\,(g - C_t))\), where \(C_t = \alpha C_{t-1} + (1-\alpha) E_t\) is the running mean
    of the batch mean E of the error, \(C_1 = E_1\) (Rezende and Viola 2018; there the multiplier is that of the error,
    \(1/\beta\)).

    - `goal` is g. It has no default that holds for all data.
    - The form and the defaults are those of applied-ai-lab/genesis (`utils/geco.py`, by other authors): \(\alpha\)
      0.99, start 1, \(\eta\) 0.00001, ten times faster while the goal is met, \(\beta\) between 1e-10 and 1e10.
    - What is trained is no bound for \(\beta < 1\). The board shows the ELBO.
    - Cost of a step: that of the plain VAE.
    - Neutral: `step_size=0` with any goal.
    """

    name: ClassVar[str] = "geco"
    family: ClassVar[Family] = Family.OBJECTIVE
    neutral: ClassVar[dict[str, float]] = {"goal": 3, "step_size": 0}
    citation: ClassVar[str] = "Rezende and Viola, Taming VAEs, 2018 (arXiv:1810.00597)"

    goal: float = Field(description="the reconstruction error g that is asked for, in nats per example", examples=[100])
    step_size: NonNegativeFloat = Field(1e-5, description="step size η of the logarithm of the weight, per nat")
    speedup: PositiveFloat = Field(10.0, description="so many times larger is the step while the goal is met")
    smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(0.99, description="share α of the past in the running mean")
    start: PositiveFloat = Field(1.0, description="the KL weight before the first step")
    _error: float | None = PrivateAttr(None)
    _weight: float | None = PrivateAttr(None)

    @hookimpl
    def kl_weight(self) -> float:
        """Give β."""
        return self.start if self._weight is None else self._weight

    @hookimpl
    def after_step(self, terms: Terms) -> None:
        """Move the weight by the running mean of the error."""
        error = float(terms.reconstruction.mean())
        past = error if self._error is None else self._error
        self._error = (1 - self.smoothing) * error + self.smoothing * past
        spare = self.goal - self._error
        step = self.step_size * spare * (self.speedup if spare > 0 else 1)
        factor = math.exp(min(max(step, -ENOUGH), ENOUGH))
        self._weight = min(max(factor * self.kl_weight(), SMALLEST), LARGEST)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [GECO]
