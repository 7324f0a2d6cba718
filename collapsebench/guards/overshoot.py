"""Overshoot: a run spends its budget, and no more than the end of its last step asks for.

What it catches: a budget smaller than one step, and a last step that spends far more than is left. What it cannot catch
is work that nobody counts: that is for `audits`.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from collapsebench.errors import UsageError
from collapsebench.record import Finding, Guard
from collapsebench.spec import Budget, Unit

WARM_UP = 1.0
"""Seconds that a first step may take longer than others: memory is touched and kernels are chosen."""

INTERRUPTED = 1.0
"""Seconds of a last step that are not held against it if its process did not use the processor meanwhile."""

HICCUP = 0.1
"""Seconds of garbage collection or of touching memory that may fall into any step."""

USUAL_STEPS = 3
"""A run may exceed its budget by so many median steps: on a loaded machine steps differ by so much."""

NAMES = {Unit.SECONDS: "s", Unit.FLOPS: "FLOPs"}


def check_first_step(budget: Budget, spent: float, idle: float = 0.0) -> None:
    """Raise UsageError if the budget is smaller than one step, or if steps spend nothing, now that the first is done.

    In seconds, a step that is not slow by its warm-up or by `idle` (see `overshot`) alone has to fit. Budgets in steps,
    examples and epochs are checked before anything runs (`counters.check_affordable`).
    """
    forgiven = WARM_UP + min(idle, INTERRUPTED) if budget.unit is Unit.SECONDS else 0.0
    if budget.unit is Unit.FLOPS and spent == 0:
        raise UsageError(f"budget '{budget}' would never be spent: a step has no FLOPs that are counted")
    if budget.unit in NAMES and spent > budget.amount + forgiven:
        raise UsageError(f"budget '{budget}' is smaller than one step ({spent:.2g} {NAMES[budget.unit]})")


def overshot(budget: Budget, spent: float, steps: Sequence[float], idle: float = 0.0) -> Finding | None:
    """Return a finding if a run has exceeded its budget by more than the end of a usual step explains.

    `steps` are the amounts of the last steps, and the very last is judged by those before it. `idle` are its seconds in
    which the process did not use the processor. They may have been somebody else's: up to a second is forgiven.
    """
    if budget.unit not in NAMES or not steps:
        return None
    usual = statistics.median(steps[:-1] or steps)
    forgiven = HICCUP + min(idle, INTERRUPTED) if budget.unit is Unit.SECONDS else 0.0
    if spent - budget.amount - forgiven <= USUAL_STEPS * usual:
        return None
    name = NAMES[budget.unit]
    return Finding(guard=Guard.OVERSHOOT, text=f"spent {spent:.3g} {name} of {budget.amount:.3g} {name}")
