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
    """A number of a trained contender on the test split. The docstring says its formula, unit, estimator and trap.

    This metric is the mean squared length of the codes. The posteriors N(1, 1) and N(2, 1) give (1 + 4)/2:

    >>> import numpy as np
    >>> import torch
    >>> from collapsebench import Amortized, Column, DiagonalGaussian, Direction, Estimate, EvaluatedSplit, Metric
    >>> from collapsebench import Networks, SeededNoise, StandardNormal, VAE
    >>> from collapsebench import Vectors
    >>> class SquaredLength(Metric):
    ...     name = "squared-length"
    ...     columns = (Column("squared_length", "", Direction.NONE, "|μ|²"),)
    ...     def evaluate(self, split):
    ...         return {"squared_length": Estimate(float(split.posterior.mean.square().sum(-1).mean()))}
    >>> class Head(torch.nn.Module):
    ...     def forward(self, features):
    ...         return DiagonalGaussian(features, torch.zeros_like(features))
    >>> vae = VAE(Networks(torch.nn.Identity(), Head(), torch.nn.Linear(1, 1)), StandardNormal(1))
    >>> examples = Vectors(np.array([[1.0], [2.0]], np.float32))
    >>> device = torch.device("cpu")
    >>> split = EvaluatedSplit(vae, Amortized(), examples, SeededNoise(0), batch_size=2, device=device)
    >>> SquaredLength().evaluate(split)["squared_length"].value
    2.5
    """

    kind: ClassVar[str] = "metric"
    columns: ClassVar[tuple[Column, ...]]
    """The columns that a board shows."""

    @abstractmethod
    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate]:
        """Give the estimate for each column. A column that does not apply to the data is left out.

        Further entries, such as `kl[3]` or a curve, are stored with the run. `runs show` shows them, boards do not.
        """
