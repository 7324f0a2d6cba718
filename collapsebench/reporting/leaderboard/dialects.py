"""Runs as another paper would have scored them: the numbers of one dialect in place of the metrics'."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from collapsebench.metrics import dialects
from collapsebench.observation import ColumnHead, MetricValue, Observation

DIALECTS = {dialect.name: dialect for dialect in dialects.DIALECTS}
"""By name."""


def in_dialect(observations: Iterable[Observation], dialect: dialects.Dialect) -> Iterator[Observation]:
    """The runs with the dialect's columns, under its own titles; without any if they were not scored in it.

    The observations hold the dialect's columns among their entries.
    """
    metric = dialects.Dialects.name
    heads = [ColumnHead(metric, column.name, column.title, column.unit, column.direction) for column in dialect.columns]
    for run in observations:
        own = (head for head in heads if head.column in run.entries)
        yield run._replace(values=tuple(MetricValue(head, *run.entries[head.column]) for head in own))
