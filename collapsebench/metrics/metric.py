"""The interface of a metric."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from collapsebench.components.interfaces import Component
from collapsebench.estimates import Column, Estimate

if TYPE_CHECKING:
    from collapsebench.metrics.evaluation import EvaluatedSplit


class Metric(Component):
    """A number of a trained contender on the test split: formula, unit, direction, estimator, trap."""

    kind: ClassVar[str] = "metric"
    columns: ClassVar[tuple[Column, ...]]

    @abstractmethod
    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate]:
        """Estimates by column; a column that does not apply to the data is left out.

        Further entries (`kl[3]`, a curve) are stored with the run and shown by `runs show`, not in boards.
        """
