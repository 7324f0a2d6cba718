"""A schedule that had not ended says so: the parameters that a board compares were trained for another objective."""

from __future__ import annotations

import math

from collapsebench.record import Finding, Guard, Point


def unfinished_schedule(points: tuple[Point, ...], final: float) -> tuple[Finding, ...]:
    """Return a finding if the KL weight at the selected point is not the one that the schedule ends with.

    `final` is the weight at the end of the budget. A run can end before it, by its learning rate, and the best point
    can be an early one. A method whose objective takes no KL weight is not seen.
    """
    weight = next((float(point.values["kl_weight"]) for point in points if point.selected), math.nan)
    if math.isnan(weight) or math.isclose(weight, final, rel_tol=1e-6):
        return ()
    text = f"KL weight at the selected point {weight:.3g}, at the end of the schedule {final:.3g}"
    return (Finding(guard=Guard.SCHEDULE, text=text),)
