"""ControlVAE: a controller moves the KL weight until the KL is the one that was asked for."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PrivateAttr, model_validator

from collapsebench import Component, Family, Method, Range, SearchRange, hookimpl

if TYPE_CHECKING:
    from collapsebench import Terms


class AntiWindup(StrEnum):
    """When the integral stands still."""

    PAPER = "paper"
    """While the weight before clipping is outside of its limits."""
    OUTWARD = "outward"
    """While it is outside, and the error would drive it further out."""
    OFF = "off"
    """Never."""


class ControlVAE(Method):
    r"""ControlVAE: a controller moves the KL weight until the KL is the one that was asked for.

    It is a PI controller on the error \(e_t = K^* - KL_t\), where \(K^*\) is the KL that is asked for: \(\beta_t =
    \mathrm{clip}(W_t, \beta_{min}, \beta_{max})\), \(W_t = K_p / (1 + \exp e_t) + I_t\), \(I_t = I_{t-1} - K_i e_t\).
    KL and error are in nats per example (Shao et al. 2020).

    - `nats` is \(K^*\). It has no default that holds for all data.
    - `proportional` 0.01, `integral` 0.0001, limits 0 and 1: the paper's for text. The program's defaults for images
      are 0.001 and 0.001.
    - `anti_windup`: by the paper the integral stands still while the last W is outside of the limits. So has the
      program for dialogs. Those for images and for PTB test `W < 0 and W >= 1`, which is never true: that is `off`. The
      paper's rule can lock: if \(K_i K^* > K_p\), the first step puts W below 0 for ever. Such settings are refused.
      `outward` never locks.
    - The program computes the weight from the KL of the same step, here it follows from that of the step before. The
      first step has the smallest weight. Its variant for disentangling adds 1 to W, and is not shipped.
    - What is trained has a KL weight that moves. The board shows the ELBO.
    - Tuned: `nats`, which the authors choose for each data set. The ends 1 and 25 are those of `capacity`.
    - Cost of a step: that of the plain VAE.
    - Neutral: `minimum=1,maximum=1`.
    """

    name: ClassVar[str] = "control-vae"
    family: ClassVar[Family] = Family.OBJECTIVE
    neutral: ClassVar[dict[str, float]] = {"nats": 3, "minimum": 1, "maximum": 1}
    citation: ClassVar[str] = "Shao et al., ControlVAE: Controllable Variational Autoencoder, ICML 2020"
    search: ClassVar[dict[str, SearchRange]] = {"nats": Range(1, 25, log=True)}

    nats: PositiveFloat = Field(description="the KL K* that is asked for, in nats", examples=[3])
    proportional: NonNegativeFloat = Field(0.01, description="gain K_p of the error")
    integral: NonNegativeFloat = Field(1e-4, description="gain K_i of the sum of all errors")
    minimum: NonNegativeFloat = Field(0.0, description="the smallest weight")
    maximum: NonNegativeFloat = Field(1.0, description="the largest weight")
    anti_windup: AntiWindup = Field(
        AntiWindup.PAPER, description="when the sum of errors stands still: paper, outward or off"
    )
    _sum: float = PrivateAttr(0.0)
    _weight: float = PrivateAttr(-math.inf)
    """The weight W before it is clipped."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"the smallest weight {self.minimum} is above the largest {self.maximum}")
        if self.anti_windup is AntiWindup.PAPER and self.integral * self.nats > self.proportional:
            raise ValueError(
                f"anti_windup=paper locks at the smallest weight, as integral * nats = {self.integral * self.nats:.3g} "
                f"is above proportional = {self.proportional:.3g}: set anti_windup=outward, or smaller gains"
            )
        return self

    @hookimpl
    def kl_weight(self) -> float:
        """Give β."""
        return min(max(self._weight, self.minimum), self.maximum)

    @hookimpl
    def after_step(self, terms: Terms) -> None:
        """Let the controller read the KL of the step."""
        error = self.nats - float(terms.kl.sum(-1).mean())
        if not self._stands_still(error):
            self._sum -= self.integral * error
        self._weight = self.proportional * 0.5 * (1 - math.tanh(error / 2)) + self._sum

    def _stands_still(self, error: float) -> bool:
        """Tell whether the integral stands still. Before the first step there is no weight that could be outside."""
        below, above = -math.inf < self._weight < self.minimum, self._weight > self.maximum
        match self.anti_windup:
            case AntiWindup.PAPER:
                return below or above
            case AntiWindup.OUTWARD:
                return (below and error > 0) or (above and error < 0)
            case AntiWindup.OFF:
                return False


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [ControlVAE]
