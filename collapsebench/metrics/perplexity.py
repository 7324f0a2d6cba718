"""Perplexity of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from collapsebench.estimates import Column, Direction, Estimate
from collapsebench.metrics.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collapsebench.metrics.evaluation import EvaluatedSplit


class Perplexity(Metric):
    r"""The importance-weighted negative log-likelihood per token, exponentiated. Text only.

    Formula: \(\exp\big(\sum_i \mathrm{NLL}_i / \sum_i T_i\big)\) with NLL of `iw-nll` and \(T_i\) the predicted tokens,
    EOS counted and BOS not.
    Unit: none. Direction: lower.
    Estimator: over the whole corpus, from the samples of `iw-nll`: the same number of samples costs nothing more. The
    standard error is that of the mean NLL, by the delta method. The entry `tokens` is the mean of \(T_i\).
    Trap: not the mean of per-sentence perplexities; never comparable across vocabularies or tokenizers; a bound, so
    beside a language model's exact perplexity it is at a disadvantage.
    """

    name: ClassVar[str] = "perplexity"
    columns: ClassVar[tuple[Column, ...]] = (Column("perplexity", "", Direction.LOWER, "PPL"),)

    samples: PositiveInt = Field(500, description="importance samples K per example; take those of iw-nll")

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate]:
        """The one column, and the tokens; nothing for data that are not text."""
        if not split.is_text:
            return {}
        bound = split.importance_bound(self.samples)
        tokens = float(split.predictions.sum())
        value = float((bound.nll.sum() / tokens).exp())
        return {
            "perplexity": Estimate(value, value * bound.error() * len(split) / tokens),
            "tokens": Estimate(tokens / len(split)),
        }
