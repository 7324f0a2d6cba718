"""How a board is shown to people. Exports have all columns, and the contenders as they are, unless they are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto


class Shown(Enum):
    """The columns of a board that people see."""

    USUAL = auto()
    """The bound, the likelihood, the KL, the bracket of MI and the active units, each if the board has it."""
    EVERY = auto()
    """All columns of the board."""


class RowOrder(Enum):
    """The order of the rows that people see. The contender that the others are compared with is always first."""

    AS_SCORED = auto()
    """The order of the board."""
    BY_DECISION = auto()
    """The best contender first, by the column that decides."""


@dataclass(frozen=True)
class Presentation:
    """The choices of a board for people."""

    columns: Shown = Shown.EVERY
    order: RowOrder = RowOrder.AS_SCORED
    labels: Mapping[str, str] = field(default_factory=dict)
    """What people read in place of a contender, by contender."""
    print_differences: bool = False
    """True if LaTeX gets a second table, with the paired differences."""


PLAIN = Presentation()
"""Every column, in the order of the board."""
