"""KL annealing: the weight of the KL term grows during training."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt

from collapsebench import Component, Family, Method, Progress, hookimpl


class Schedule(StrEnum):
    """The shapes of the growth."""

    LINEAR = "linear"
    LOGISTIC = "logistic"
    CYCLICAL = "cyclical"


Fraction = Annotated[float, Field(ge=0, le=1)]


class KLAnnealing(Method):
    r"""KL annealing: the weight of the KL term grows with the share of the budget that is spent.

    The weight \(\beta\) follows from the share \(s \in [0, 1]\) by one of these rules:

    - linear (Bowman et al. 2016): \(\beta = \min(1, \beta_0 + (1-\beta_0)\, s/w)\).
    - logistic (Bowman et al. 2016): \(\beta = 1/(1 + e^{-k(s/w - 1/2)})\), which is one half at \(s = w/2\).
    - cyclical (Fu et al. 2019): the linear rule in each of M equal cycles, where \(s\) is the share of the cycle.

    \(w\) is the warm-up. At its end \(\beta\) is 1, or \(1/(1+e^{-k/2})\) for the logistic rule, which approaches 1.
    """

    name: ClassVar[str] = "kl-annealing"
    family: ClassVar[Family] = Family.PROCEDURE
    citation: ClassVar[str] = (
        "Bowman et al., Generating Sentences from a Continuous Space, CoNLL 2016; "
        "Fu et al., Cyclical Annealing Schedule, NAACL 2019"
    )

    schedule: Schedule = Field(Schedule.LINEAR, description="linear, logistic or cyclical")
    start: Fraction = Field(0.0, description="weight at the start, of the linear and the cyclical schedule")
    warmup: Annotated[float, Field(gt=0, le=1)] = Field(
        0.4, description="share of the budget (of the cycle, if cyclical) after which the weight is 1"
    )
    steepness: PositiveFloat = Field(12.5, description="k of the logistic schedule, per warm-up")
    cycles: PositiveInt = Field(4, description="number of cycles M of the cyclical schedule")

    @hookimpl
    def kl_weight(self, progress: Progress) -> float:
        """Give β at this point of the training."""
        match self.schedule:
            case Schedule.LINEAR:
                return self._linear(progress.fraction)
            case Schedule.LOGISTIC:
                return 1 / (1 + math.exp(-self.steepness * (progress.fraction / self.warmup - 0.5)))
            case Schedule.CYCLICAL:
                return self._linear(math.fmod(progress.fraction * self.cycles, 1))

    def _linear(self, share: float) -> float:
        return min(1.0, self.start + (1 - self.start) * share / self.warmup)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [KLAnnealing]
