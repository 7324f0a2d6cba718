"""A schedule that had not ended says so: the parameters that a board compares were trained for another objective."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from collapsebench.model.progress import Progress
from collapsebench.record import Finding, Guard


def unfinished_schedule(weight: Callable[[Progress], float], selected: Progress, end: Progress) -> tuple[Finding, ...]:
    """Return a finding if the KL weight just before the selected point is not the one that the schedule ends with.

    `weight` gives the weight of the KL term; `selected` and `end` are the progress at the selected point and at the end
    of the budget. A run can end before it, by its learning rate, and the best point can be an early one. What a method
    keeps is the same in both, so that a weight by feedback, which has no end, is not taken for a schedule. A method
    whose objective takes no KL weight is not seen.
    """
    here, final = weight(_before(selected)), weight(_before(end))
    if math.isclose(here, final, rel_tol=1e-6):
        return ()
    text = f"KL weight at the selected point {here:.3g}, at the end of the schedule {final:.3g}"
    return (Finding(guard=Guard.SCHEDULE, text=text),)


def _before(progress: Progress) -> Progress:
    """Return where the step before began: from here on there may be a cycle or a phase that was never trained in."""
    return replace(progress, fraction=math.nextafter(progress.fraction, 0), step=max(0, progress.step - 1))
