"""The accuracy of a linear classifier on the codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from collapsebench.estimates import Column, Declined, Direction, Estimate
from collapsebench.metrics.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapsebench.metrics.evaluation import EvaluatedSplit


class Probe(Metric):
    r"""The accuracy of logistic regression from posterior means to labels that the contender never saw.

    Formula: \(\frac{100}N\,\#\{i : \arg\max_c\, (W\mu_i + b)_c = y_i\}\), \(\mu_i = E_q[z|x_i]\), with W and b fitted
    to the training split by maximum likelihood with the penalty \(\|W\|^2 / 2C\). `probe_untrained` is the same with
    the encoder before its first step.
    Unit: percent of the examples. Direction: higher; none for the untrained encoder, which is the comparison.
    Estimator: C is chosen from 0.01, 0.1, 1, 10, 100 by stratified five-fold cross-validation on the training codes.
    The codes are not standardized, as the prior gives them their scale: a collapsed unit stays small. The standard
    error is binomial, \(100\sqrt{p(1-p)/N}\), over the test examples. There is no value without labels or without
    latent units.
    Trap: an untrained encoder is far better than chance. Labels are a small part of the information in x: 3.3 bits for
    ten classes. The means may separate the classes although the posteriors are so wide that the decoder learns nothing
    from them.
    """

    name: ClassVar[str] = "probe"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("probe", "%", Direction.HIGHER, "probe"),
        Column("probe_untrained", "%", Direction.NONE, "probe untrained"),
    )

    examples: PositiveInt = Field(10_000, description="largest number of training examples")

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate | Declined]:
        """Give both columns."""
        from collapsebench.metrics.classification import logistic_regression, probe_accuracies

        return probe_accuracies(split, self.examples, [column.name for column in self.columns], logistic_regression)
