"""Scores runs as another paper does, with the numbers of its dialect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from collapsebench.metrics import dialects
from collapsebench.observation import ColumnHead, MetricValue, Observation

DIALECTS = {dialect.name: dialect for dialect in dialects.DIALECTS}
"""The dialects by name."""


def in_dialect(observations: Iterable[Observation], dialect: dialects.Dialect) -> Iterator[Observation]:
    """Replace the columns of runs by those of a dialect. A run that was not scored in the dialect gets no columns.

    The observations must have the dialect's columns among their entries.
    """
    metric = dialects.Dialects.name
    heads = [ColumnHead(metric, column.name, column.title, column.unit, column.direction) for column in dialect.columns]
    for run in observations:
        own = (head for head in heads if head.column in run.entries)
        yield run._replace(values=tuple(MetricValue(head, *run.entries[head.column]) for head in own))
