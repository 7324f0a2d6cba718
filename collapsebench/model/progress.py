"""What a method may know of the training that it is a part of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """The state of training: the fraction of the budget that is spent, 0…1, and the number of steps that are done.

    A rule that looks at validation numbers, such as a stop rule, finds them here. They cost the method nothing.

    >>> from collapsebench import Progress
    >>> Progress(fraction=0.25, step=100).fraction
    0.25
    >>> Progress(fraction=0.5, step=200, validation={"mi_lower": 1.5}, evaluations=2).validation["mi_lower"]
    1.5
    """

    fraction: float
    step: int
    validation: Mapping[str, float] = field(default_factory=dict, hash=False)
    """The newest scheduled evaluation: `neg_elbo`, `kl`, `mi_lower`, … as in a trajectory. Empty before the first."""
    evaluations: int = 0
    """The number of scheduled evaluations that are done."""
