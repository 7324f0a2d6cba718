"""The perplexity of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from collapsebench.estimates import Column, Direction, Estimate
from collapsebench.metrics.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapsebench.metrics.evaluation import EvaluatedSplit


class Perplexity(Metric):
    r"""The exponential of the importance-weighted negative log-likelihood per token. It is for text only.

    Formula: \(\exp\big(\sum_i \mathrm{NLL}_i / \sum_i T_i\big)\), with the NLL of `iw-nll`. \(T_i\) is the number of
    predicted tokens, which include EOS and not BOS.
    Unit: none. Direction: lower.
    Estimator: over the whole corpus, from the samples of `iw-nll`. The same number of samples costs nothing more. The
    standard error follows from that of the mean NLL by the delta method. The entry `tokens` is the mean of \(T_i\).
    Trap: it is not the mean of the perplexities of sentences. It is not comparable across vocabularies or tokenizers.
    It is an upper bound, so that the exact perplexity of a language model has an advantage.
    """

    name: ClassVar[str] = "perplexity"
    columns: ClassVar[tuple[Column, ...]] = (Column("perplexity", "", Direction.LOWER, "PPL"),)

    samples: PositiveInt = Field(500, description="importance samples K per example; use the number of iw-nll")

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate]:
        """Give the column and the tokens, or nothing for data that are not text."""
        if not split.is_text:
            return {}
        bound = split.importance_bound(self.samples)
        tokens = float(split.predictions.sum())
        value = float((bound.nll.sum() / tokens).exp())
        return {
            "perplexity": Estimate(value, value * bound.error() * len(split) / tokens),
            "tokens": Estimate(tokens / len(split)),
        }
