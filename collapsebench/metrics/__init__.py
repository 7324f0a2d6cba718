"""The metrics: numbers of a trained contender on held-out data. Each file is one, with its formula, unit and trap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapsebench.components.hookspecs import hookimpl
from collapsebench.examples import TextSpec
from collapsebench.metrics.active_units import ActiveUnits
from collapsebench.metrics.collapse import Collapse
from collapsebench.metrics.dialects import Dialects
from collapsebench.metrics.gap import Gap
from collapsebench.metrics.iw_nll import IWNLL
from collapsebench.metrics.kl import KL
from collapsebench.metrics.latent_use import LatentUse
from collapsebench.metrics.mlp_probe import MLPProbe
from collapsebench.metrics.mutual_information import MutualInformation, TrackedInformation
from collapsebench.metrics.neg_elbo import NegELBO
from collapsebench.metrics.perplexity import Perplexity
from collapsebench.metrics.probe import Probe
from collapsebench.metrics.time_to_collapse import TimeToCollapse

if TYPE_CHECKING:
    from collapsebench.components.interfaces import Component
    from collapsebench.examples import DataSpec
    from collapsebench.metrics.metric import Metric

METRICS: tuple[type[Metric], ...] = (
    NegELBO,
    IWNLL,
    Perplexity,
    KL,
    MutualInformation,
    ActiveUnits,
    Collapse,
    TimeToCollapse,
    LatentUse,
    Gap,
    Probe,
    MLPProbe,
    Dialects,
)
"""The metrics of this package, in the order of the columns of a board."""


COSTLY: frozenset[type[Metric]] = frozenset({Gap, MLPProbe})
"""The metrics that take long. A run computes them only if its track names them."""

TRACKED: tuple[Metric, ...] = (TrackedInformation(), ActiveUnits())
"""The metrics of a trajectory on the validation split, beside the bound, the KL and the training loss."""


def default_metrics(data: DataSpec) -> tuple[str, ...]:
    """Give the metrics of a track that names none: those that are not costly, and perplexity for text alone."""
    without = COSTLY if isinstance(data, TextSpec) else {*COSTLY, Perplexity}
    return tuple(metric.name for metric in METRICS if metric not in without)


@hookimpl
def collapsebench_components() -> list[type[Component]]:
    """Name the metrics that come with the harness."""
    return list(METRICS)
