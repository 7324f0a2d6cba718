"""Processor times of the training steps: what other threads used, and whether audited steps are like the others."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collapsebench.experiment.extrapolation import Shape

RATIOS = 101
"""So many ratios are kept."""


class ProcessorTime:
    """Sums the processor seconds of steps, those of threads that nobody counts apart."""

    def __init__(self, shared: bool) -> None:
        """`shared` says that torch computes in threads of its own, so that nobody can tell them from others."""
        self._shared = shared
        self._process = self._thread = self._counted = 0.0
        self.running = False
        self.last = self.total = self.elsewhere = 0.0
        """Seconds of the last step that was timed, of all of them, and those of uncounted threads (0 if `shared`)."""
        self.ratios: deque[float] = deque(maxlen=RATIOS)
        """Seconds of a step that was not counted by those of the next audited step on an equal shape."""
        self._uncounted: dict[Shape, float] = {}

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"last": self.last, "total": self.total, "elsewhere": self.elsewhere, "ratios": list(self.ratios)}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.last, self.total, self.elsewhere = state["last"], state["total"], state["elsewhere"]
        self.ratios.extend(state["ratios"])

    def start(self, counted: float = 0.0) -> None:
        """Begin a step whose times are taken. `counted` are the seconds of threads whose work is counted, so far."""
        self.running, self._counted = True, counted
        self._thread = 0.0 if self._shared else time.thread_time()
        self._process = time.process_time()

    def stop(self, counted: float = 0.0) -> None:
        """End such a step. `counted` means the same as for its start."""
        self.running = False
        self.last = time.process_time() - self._process
        self.total += self.last
        if not self._shared:
            self.elsewhere += self.last - (time.thread_time() - self._thread) - (counted - self._counted)

    def uncounted(self, shape: Shape) -> None:
        """Note that the last step, on this shape, was timed and not counted."""
        self._uncounted[shape] = self.last

    def audited(self, shape: Shape) -> None:
        """Note that the last step, on this shape, was audited."""
        before = self._uncounted.pop(shape, None)
        if before is not None and self.last > 0:
            self.ratios.append(before / self.last)
