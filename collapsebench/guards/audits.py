"""Audits: when the meter counts a step whose cost is known, and what it means if the step costs something else.

What they catch: passes and FLOPs of a step that differ from those of the step that was counted before, whoever computes
them, in this thread or in one that Python starts during a step. Other work of other threads is seen in processor times
where a run computes with one thread.

What they cannot catch: code that recognizes an audit (Python hides neither dispatch modes nor hooks) and works less in
it, unless its other steps take visibly longer (`slower_unaudited`); work of other processes; and work outside of torch
that hardly uses the processor. No guard in Python withstands code that rewrites the meter.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Sequence

from collapsebench.record import Finding, Guard

RARE = 512
"""Later on, one in this many steps of known cost is audited. A counted step of a small model takes twice as long."""

PAIRS = 5
"""Fewer pairs of an audited step and the one before it tell nothing."""

SLOWER = 2.0
"""An audited step is always the slower one, so an unaudited step that takes twice as long has done something else."""

BACKGROUND = 0.25
"""The share of processor time that threads for progress and messages stay well below."""

LEAST_SECONDS = 0.25
"""Less processor time of other threads is not worth a word."""

BUILDING = 10.0
"""Building a model may cost so many of its steps: some first values are drawn by a decomposition."""

Draw = Callable[[int], bytes]
"""A source of random bytes."""


def following(step: int, draw: Draw = os.urandom) -> int:
    r"""Draw the next step to be audited after `step`, from bytes of the operating system, so that no seed foretells it.

    A step \(t\) is audited with probability \(1/(1 + t)\), or by another draw with \(1/512\): about 5 of the first 100
    steps and 9 of the first 1,000. The numbers of steps without an audit follow by inverting both distributions:
    \(P(\text{none in } s+1 \ldots t) = (s + 1)/(t + 1)\) and \((1 - 1/512)^{t - s}\).
    """
    first, second = ((int.from_bytes(draw(7), "little") + 1) / 2**56 for _ in range(2))
    early = math.floor((step + 1) / first)
    rare = step + 1 + math.floor(math.log(second) / math.log1p(-1 / RARE))
    return max(step + 1, min(early, rare))


def timed_steps(draw: Draw = os.urandom) -> tuple[bool, ...]:
    """Draw which of 64 steps have their processor times taken, a quarter of all: the clocks cost time."""
    return tuple(byte < 64 for byte in draw(64))


def work(text: str) -> Finding:
    """Return a finding about work that the meter was not meant to see."""
    return Finding(guard=Guard.WORK, text=text)


def counters_set_back(step: int) -> Finding:
    """Say that a method has set the model's own count of passes back, or has replaced it. No honest code does."""
    return work(f"the model's count of passes was set back at step {step}")


def passes_past_the_model(step: int, unaudited: int) -> Finding:
    """Say that an audit found passes that the model did not see, where an earlier step had none.

    A method that calls the networks directly from its first step on is no finding: all its steps are counted.
    """
    return work(f"step {step} passed the networks unseen; {unaudited} steps before it are charged by estimate")


def work_while_building(flops: float, step: float) -> Finding | None:
    """Judge the FLOPs of building a model, before the clock runs, by those of a usual step.

    This catches training in a hook that only builds. It cannot see what a plugin does when it is imported.
    """
    if flops <= BUILDING * step:
        return None
    return work(f"{flops:.2g} FLOPs were done while the model was built, of {step:.2g} in a step")


def busy_threads(elsewhere: float, total: float) -> Finding | None:
    """Judge the processor seconds that threads used in steps whose work nobody counted, out of all seconds.

    Threads that Python starts in a step are counted, and are none of them. It is for runs that compute with one thread.
    Where torch has threads of its own, nobody can tell them from others.
    """
    if elsewhere < max(LEAST_SECONDS, BACKGROUND * total):
        return None
    return work(f"uncounted threads used {elsewhere:.1f} s of the {total:.1f} s of processor time of training steps")


def slower_unaudited(ratios: Sequence[float]) -> Finding | None:
    """Judge the processor time of steps that nobody counted, each divided by that of the next audited step like it.

    What works only where it is not counted shows here, even if it recognizes an audit.
    """
    if len(ratios) < PAIRS or (typical := statistics.median(ratios)) < SLOWER:
        return None
    return work(f"steps took {typical:.1f} times as long when they were not audited")
