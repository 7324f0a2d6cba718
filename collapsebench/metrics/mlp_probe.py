"""The accuracy of a multilayer perceptron on the codes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from collapsebench.estimates import Column, Declined, Direction, Estimate
from collapsebench.metrics.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapsebench.metrics.evaluation import EvaluatedSplit


class MLPProbe(Metric):
    r"""The accuracy of an MLP from posterior means to labels that the contender never saw (Dieng et al. 2019).

    Formula: \(\frac{100}N\,\#\{i : \arg\max_c f_c(\mu_i) = y_i\}\), \(\mu_i = E_q[z|x_i]\), where f is an MLP of two
    hidden layers of 1024 ReLUs with dropout 0.5, fitted to the training split. `mlp_probe_untrained` is the same with
    the encoder before its first step.
    Unit: percent of the examples. Direction: higher; none for the untrained encoder, which is the comparison.
    Estimator: cross-entropy, Adam with learning rate 0.001 and batches of 100. Weights, order and dropout are drawn
    from the run's seed. The codes are not standardized. The standard error is binomial, \(100\sqrt{p(1-p)/N}\), over
    the test examples. There is no value without labels or without latent units.
    Trap: it says less about the codes than the linear probe, as the MLP can learn what the encoder did not. It is
    costly: minutes for the 50,000 codes of MNIST.
    """

    name: ClassVar[str] = "mlp-probe"
    citation: ClassVar[str] = (
        "Dieng, Kim, Rush, Blei, Avoiding Latent Variable Collapse with Generative Skip Models, AISTATS 2019"
    )
    columns: ClassVar[tuple[Column, ...]] = (
        Column("mlp_probe", "%", Direction.HIGHER, "MLP probe"),
        Column("mlp_probe_untrained", "%", Direction.NONE, "MLP probe untrained"),
    )

    examples: PositiveInt = Field(50_000, description="largest number of training examples")
    epochs: PositiveInt = Field(10, description="passes over these examples")

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate | Declined]:
        """Give both columns."""
        from collapsebench.metrics.classification import multilayer_perceptron, probe_accuracies

        if split.provenance is None:
            return {}
        classify = partial(multilayer_perceptron, epochs=self.epochs, seed=split.provenance.seed)
        return probe_accuracies(split, self.examples, [column.name for column in self.columns], classify)
