"""The interface of a metric."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final

from collapsebench.components.interfaces import Component
from collapsebench.estimates import Column, Declined, Estimate

if TYPE_CHECKING:
    from collapsebench.metrics.evaluation import EvaluatedSplit


NO_UNITS: Final = Declined("no latent units")
NO_ENCODER: Final = Declined("no encoder")


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
    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate | Declined]:
        """Give the estimate for each column, or the reason why the column means nothing for this contender.

        Further entries, such as `kl[3]` or a curve, are stored with the run. `runs show` shows them, boards do not. A
        reason may stand for a group of them, as in `{"kl[j]": Declined("no KL per unit")}`. A column that no contender
        can have on the data, such as the perplexity of images, is left out.
        """
