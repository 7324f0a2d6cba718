"""What a linear classifier finds in the codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from collapsebench.estimates import Column, Direction, Estimate
from collapsebench.metrics.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapsebench.metrics.evaluation import EvaluatedSplit


class Probe(Metric):
    r"""The accuracy of logistic regression from posterior means to labels that the contender never saw.

    Formula: \(\frac{100}N\,\#\{i : \arg\max_c\, (W\mu_i + b)_c = y_i\}\), \(\mu_i = E_q[z|x_i]\), with W and b fitted
    to the training split by maximum likelihood with the penalty \(\|W\|^2 / 2C\). `probe_untrained` is the same with
    the encoder before its first step.
    Unit: percent of the examples. Direction: higher; none for the untrained encoder, which is what to compare with.
    Estimator: C of 0.01, 0.1, 1, 10, 100 by stratified five-fold cross-validation on the training codes. Codes enter as
    they are, not standardized, as the prior gives them their scale: what is left of a collapsed unit stays small. The
    standard error is binomial, \(100\sqrt{p(1-p)/N}\), over the test examples. Left out without labels, and without
    latent units.
    Trap: an untrained encoder is far better than chance, and labels are a small part of what x holds: 3.3 bits for ten
    classes. A mean can tell classes apart though the posterior is so wide that the decoder gets nothing of it.
    """

    name: ClassVar[str] = "probe"
    columns: ClassVar[tuple[Column, ...]] = (
        Column("probe", "%", Direction.HIGHER, "probe"),
        Column("probe_untrained", "%", Direction.NONE, "probe untrained"),
    )

    examples: PositiveInt = Field(10_000, description="training examples that the classifier sees at most")

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate]:
        """Both columns."""
        from collapsebench.metrics.classification import logistic_regression, probed

        return probed(split, self.examples, [column.name for column in self.columns], logistic_regression)
