"""What the docstrings of metrics say of a number: its formula, how it is estimated, and the trap of reading it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable

from collapsebench.components.typeset import readable
from collapsebench.metrics import METRICS

PART = re.compile(r"^(\w+): ", re.MULTILINE)
"""The beginning of a part of a docstring."""
SHOWN = ("Formula", "Estimator", "Trap")
WIDE = 10_000
"""No part is so long: the page breaks lines."""


def measures(names: Iterable[str]) -> dict[str, list[list[str]]]:
    """Return the parts of the docstrings of metrics, by the name of the metric. Metrics of plugins are left out.

    >>> [part for part, _ in measures(["kl"])["kl"]]
    ['Formula', 'Estimator', 'Trap']
    """
    wanted = set(names)
    return {metric.name: _parts(metric.__doc__ or "") for metric in METRICS if metric.name in wanted}


def _parts(docstring: str) -> list[list[str]]:
    _, *found = PART.split(inspect.cleandoc(docstring))
    parts = dict(zip(found[::2], found[1::2], strict=True))
    texts = {part: readable(parts[part], WIDE).replace("`", "") for part in SHOWN if part in parts}
    return [[part, " ".join(text.split())] for part, text in texts.items()]
