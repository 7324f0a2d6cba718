"""The time of training after which z is not used."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveFloat

from collapsebench.estimates import Column, Declined, Direction, Estimate
from collapsebench.metrics.metric import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collapsebench.metrics.evaluation import EvaluatedSplit
    from collapsebench.record import Point


class TimeToCollapse(Metric):
    r"""The first scheduled evaluation at which z is unused and stays unused.

    Formula: \(\min \{t : \text{at every evaluation from } t \text{ on, } KL < \epsilon \text{ or } AU = 0\}\).
    Unit: steps. Direction: none.
    Estimator: from the trajectory on the validation split, at the scheduled evaluations. There is no value if z is used
    at the end, so that a board has a mean only if every seed collapsed. The entry `time_to_collapse[UNIT]` is the same
    in the unit of the budget. Without latent units it is the first evaluation.
    Trap: it is as coarse as the schedule of evaluations. It describes the end of training. The other metrics use the
    parameters of the best evaluation, which may be older.
    """

    name: ClassVar[str] = "time-to-collapse"
    columns: ClassVar[tuple[Column, ...]] = (Column("time_to_collapse", "steps", Direction.NONE, "collapse at"),)

    epsilon: PositiveFloat = Field(0.1, description="KL ε in nats below which z is not used")

    def evaluate(self, split: EvaluatedSplit) -> Mapping[str, Estimate | Declined]:
        """Give the column, and the same in the unit of the budget."""
        if split.provenance is None:
            return {}
        found = self.first(split.provenance.points)
        if found is None:
            return {"time_to_collapse": Declined("z is used at the end")}
        unit = split.provenance.unit
        return {
            "time_to_collapse": Estimate(found.counters["steps"]),
            f"time_to_collapse[{unit}]": Estimate(found.counters[unit]),
        }

    def first(self, points: Sequence[Point]) -> Point | None:
        """Give the first evaluation at which z is unused and stays unused, or None if z is used at the end."""
        found = None
        for point in reversed(points):
            if not (float(point.values["kl"]) < self.epsilon or float(point.values["active_units"]) == 0):
                break
            found = point
        return found
