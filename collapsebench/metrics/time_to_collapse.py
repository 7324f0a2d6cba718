"""When a contender collapsed while it was trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveFloat

from collapsebench.estimates import Column, Direction, Estimate
from collapsebench.metrics.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collapsebench.metrics.evaluation import EvaluatedSplit
    from collapsebench.record import Point


class TimeToCollapse(Metric):
    r"""The first scheduled evaluation at which z is not used, if it never is again.

    Formula: \(\min \{t : \text{at every evaluation from } t \text{ on, } KL < \epsilon \text{ or } AU = 0\}\).
    Unit: steps. Direction: none.
    Estimator: from the trajectory on the validation split, to the next scheduled evaluation. Left out where z is in use
    at the end, so that a board has a mean only where every seed collapsed. The entry `time_to_collapse[UNIT]` is the
    same in the unit of the budget. Without latent units the first evaluation.
    Trap: as coarse as the schedule of evaluations. It is about the end of training: the parameters of the best
    evaluation, which the other metrics are of, may be older.
    """

    name: ClassVar[str] = "time-to-collapse"
    columns: ClassVar[tuple[Column, ...]] = (Column("time_to_collapse", "steps", Direction.NONE, "collapse at"),)

    epsilon: PositiveFloat = Field(0.1, description="KL ε in nats below which z is not used")

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate]:
        """The one column, and the same in the unit of the budget."""
        if split.origin is None:
            return {}
        found = self.first(split.origin.points)
        if found is None:
            return {}
        unit = split.origin.unit
        return {
            "time_to_collapse": Estimate(found.counters["steps"]),
            f"time_to_collapse[{unit}]": Estimate(found.counters[unit]),
        }

    def first(self, points: Sequence[Point]) -> Point | None:
        """The first of the evaluations at the end of a trajectory that all find z unused; None if the last does not."""
        found = None
        for point in reversed(points):
            if not (float(point.values["kl"]) < self.epsilon or float(point.values["active_units"]) == 0):
                break
            found = point
        return found
