"""KL annealing: the weight of the KL term grows during training."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt

from collapsebench import Component, Family, Method, Progress, Range, SearchRange, hookimpl


class Schedule(StrEnum):
    """The shapes of the growth."""

    LINEAR = "linear"
    LOGISTIC = "logistic"
    CYCLICAL = "cyclical"
    CYCLICAL_RESTARTS = "cyclical-restarts"
    """In each cycle the learning rate begins anew, too."""


Fraction = Annotated[float, Field(ge=0, le=1)]


class KLAnnealing(Method):
    r"""KL annealing: the weight of the KL term grows with the share of the budget that is spent.

    The weight \(\beta\) follows from the share \(s \in [0, 1]\) by one of these rules:

    - linear (Bowman et al. 2016): \(\beta = \min(1, \beta_0 + (1-\beta_0)\, s/w)\).
    - logistic (Bowman et al. 2016): \(\beta = 1/(1 + e^{-k(s/w - 1/2)})\), which is one half at \(s = w/2\).
    - cyclical (Fu et al. 2019): the linear rule in each of M equal cycles, where \(s\) is the share of the cycle.
    - cyclical-restarts: the same, with the learning rate of the track times \((1 + \cos \pi s)/2\) in each cycle. The
      released script for PTB has this, and that of its baseline does not (haofuml/cyclical_annealing:
      language_model/train_text_cyc_ptb.py:164-175).

    \(w\) is the warm-up. At its end \(\beta\) is 1, or \(1/(1+e^{-k/2})\) for the logistic rule, which approaches 1.

    - The script for PTB has `start=0.1,warmup=0.45` and four cycles of 10 epochs. It lowers its learning rate once an
      epoch; here this is done in every step.
    - With restarts a row of a board has another learning rate than its baseline.
    - What is trained in the end is the ELBO.
    - Tuned: `warmup` from 0.1 (10 of 100 epochs, He et al.) to 0.5 (Fu et al.).
    - Cost of a step: that of the plain VAE.
    - Neutral: `start=1`, without restarts.
    """

    name: ClassVar[str] = "kl-annealing"
    family: ClassVar[Family] = Family.PROCEDURE
    neutral: ClassVar[dict[str, float]] = {"start": 1}
    citation: ClassVar[str] = (
        "Bowman et al., Generating Sentences from a Continuous Space, CoNLL 2016; "
        "Fu et al., Cyclical Annealing Schedule, NAACL 2019"
    )
    search: ClassVar[dict[str, SearchRange]] = {"warmup": Range(0.1, 0.5)}

    schedule: Schedule = Field(Schedule.LINEAR, description="how the weight grows")
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
            case Schedule.CYCLICAL | Schedule.CYCLICAL_RESTARTS:
                return self._linear(self._share(progress))

    @hookimpl
    def learning_rate(self, progress: Progress) -> float:
        """Give the factor of the learning rate: a half cosine for each cycle with restarts, 1 otherwise."""
        if self.schedule is not Schedule.CYCLICAL_RESTARTS:
            return 1.0
        return (1 + math.cos(math.pi * self._share(progress))) / 2

    def _share(self, progress: Progress) -> float:
        """Give the share of the cycle that has passed."""
        return math.fmod(progress.fraction * self.cycles, 1)

    def _linear(self, share: float) -> float:
        return min(1.0, self.start + (1 - self.start) * share / self.warmup)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the method of this plugin."""
    return [KLAnnealing]
