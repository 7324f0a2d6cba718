"""What a method may need of posterior and prior."""

from __future__ import annotations

from enum import StrEnum


class Need(StrEnum):
    """What a method may need of posterior and prior. Whether a contender has it is known before it is trained.

    >>> from collapsebench import Need
    >>> [need.value for need in Need]
    ['a posterior that is a diagonal Gaussian', 'a KL per unit', 'a KL in closed form']
    """

    GAUSSIAN = "a posterior that is a diagonal Gaussian"
    UNITS = "a KL per unit"
    CLOSED_FORM = "a KL in closed form"
