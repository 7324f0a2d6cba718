"""Charges for steps that nobody counted, as soon as it is known what such steps cost."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from collapsebench.experiment.flops import StepCost

if TYPE_CHECKING:
    from collapsebench.experiment.extrapolation import Shape
    from collapsebench.experiment.flops import KnownStep, Trace


class Arrears:
    """Keeps which steps were not counted, and says what is due for them later.

    There are two kinds. A step whose trace shows that it did something else is charged in proportion at first, and as
    the next counted step when that is done; so is the first step on a shape whose cost follows from others, if the
    costs turn out to vary. Steps whose traces agreed are suspect if an audit finds another cost behind
    an equal trace: then all of them are charged as this one, back to the last audit that agreed. Charges go by the size
    of the batches, and never below what was charged before. That is the conservative choice: it may charge too much,
    and never too little if steps cost at most what the audit found.
    """

    def __init__(self) -> None:
        self.steps = 0
        """The number of steps with agreeing traces since the last audit that agreed."""
        self._size = 0
        self._estimates: list[tuple[int, tuple[int, ...]]] = []

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"steps": self.steps, "size": self._size, "estimates": list(self._estimates)}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.steps, self._size = state["steps"], state["size"]
        self._estimates = [(size, tuple(cost)) for size, cost in state["estimates"]]

    def add(self, shape: Shape) -> None:
        """Remember a step that was not counted, and whose trace was as expected."""
        self.steps += 1
        self._size += prod(shape)

    def agreed(self) -> None:
        """Trust the steps before an audit that found what was expected."""
        self.steps = self._size = 0

    def estimate(self, shape: Shape, known: KnownStep, trace: Trace) -> StepCost:
        """Return what a step with another trace than expected is charged for now: in proportion to what it did more of.

        That are its passes through the model, or the nodes of autograd.
        """
        forward = known.cost.encoder_evaluations + known.cost.decoder_evaluations
        nodes = known.trace.nodes if known.trace else trace.nodes
        share = max(trace.forward / max(1, forward), trace.nodes / max(1, nodes))
        gradients, flops = known.cost.decoder_gradients, known.cost.flops
        cost = StepCost(trace.encoded, trace.decoded, round(gradients * share), round(flops * share))
        self.unproven(shape, cost)
        return cost

    def unproven(self, shape: Shape, cost: StepCost) -> None:
        """Remember what a step was charged that nobody counted, and that no trace of a counted step confirms."""
        self._estimates.append((prod(shape), tuple(cost)))

    def estimated(self, shape: Shape, found: StepCost) -> StepCost:
        """Return what is due for steps that were estimated, now that a step on this shape was counted."""
        size = prod(shape)
        due = [0] * len(found)
        for own, charged in self._estimates:
            due = [
                sum_ + max(0, -(-now * own // size) - then) for sum_, now, then in zip(due, found, charged, strict=True)
            ]
        self._estimates.clear()
        return StepCost(*due)

    def suspected(self, shape: Shape, expected: StepCost, found: StepCost) -> StepCost:
        """Return what is due for suspect steps, as an audit on this shape found another cost than expected."""
        further = (max(0, now - then) for now, then in zip(found, expected, strict=True))
        due = StepCost(*(-(-amount * self._size // prod(shape)) for amount in further))
        self.agreed()
        return due
