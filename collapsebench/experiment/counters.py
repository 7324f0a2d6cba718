"""The counters of a run, and what a budget in one of them affords. No torch, as plans and boards need them."""

from __future__ import annotations

from collapsebench.errors import UsageError
from collapsebench.spec import Budget, Unit

PASSES = ("encoder_evaluations", "decoder_evaluations", "decoder_gradients")
"""The counters of network passes."""

COUNTERS = (*Unit, *PASSES)
"""Every counter, as trajectories and leaderboards name them."""

ROUNDING = 1 + 1e-12
"""The cost of an epoch is a quotient, so that a sum of such costs may exceed the budget by rounding alone."""


def amount(unit: Unit, steps: int, examples: int, train_examples: int) -> float | None:
    """Return the amount of a unit that steps and examples make; None for seconds and FLOPs, which do not follow."""
    match unit:
        case Unit.STEPS:
            return steps
        case Unit.EPOCHS:
            return examples / train_examples
        case Unit.EXAMPLES:
            return examples
        case Unit.SECONDS | Unit.FLOPS:
            return None


def check_affordable(budget: Budget, batch_size: int, train_examples: int) -> None:
    """Raise UsageError if the budget is known to be smaller than one step."""
    examples = min(batch_size, train_examples)
    cost = amount(budget.unit, 1, examples, train_examples)
    if cost is not None and cost > budget.amount * ROUNDING:
        raise UsageError(f"budget '{budget}' is smaller than one step ({examples} examples)")
