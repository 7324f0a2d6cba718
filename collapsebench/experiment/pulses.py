"""Pulses: small files that say how far each run is, for those who look on from another process.

They lie beside the checkpoints while a run goes on. A process that is killed leaves its pulse, which is old then, and
goes with the checkpoint.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.experiment.events import Finished, Skipped, Stepped, Testing

if TYPE_CHECKING:
    from collapsebench.experiment.events import Event

INTERVAL = 2.0
"""The least seconds between two pulses of a run."""
LONGEST = 1000
"""The number of letters of a pulse that are read. No pulse has as many."""


class Pulse(NamedTuple):
    """How far a run is."""

    share: float
    """The share of its budget that is spent, 0 to 1."""
    at: float
    """When it said so, in seconds since 1970."""


class Pulses:
    """An observer that writes how far each run is, now and then. It costs no run if that cannot be written."""

    def __init__(
        self, folder: Path, clock: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time
    ) -> None:
        """Write to this folder. `clock` tells seconds, and `now` those since 1970."""
        self._folder, self._clock, self._now = folder, clock, now
        self._last: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case Stepped(run_id):
                self._beat(run_id, event.fraction)
            case Testing(run_id):
                self._last.pop(run_id, None)
                self._beat(run_id, 1.0)
            case Finished() | Skipped():
                self._last.pop(event.run_id, None)
                forget_pulse(self._folder, event.run_id)

    def _beat(self, run_id: str, share: float) -> None:
        if self._clock() - self._last.get(run_id, -math.inf) < INTERVAL:
            return
        self._last[run_id] = self._clock()
        with suppress(OSError):
            partial = _partial(self._folder, run_id)
            partial.write_text(json.dumps(Pulse(share, self._now())._asdict()), encoding="utf-8")
            partial.replace(_place(self._folder, run_id))


def read_pulse(folder: Path, run_id: str) -> Pulse | None:
    """Return how far a run is; None if nobody has said so, or not in this way."""
    try:
        with _place(folder, run_id).open(encoding="utf-8") as file:
            found = json.loads(file.read(LONGEST))
        pulse = Pulse(float(found["share"]), float(found["at"]))
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return None
    return pulse if 0 <= pulse.share <= 1 and math.isfinite(pulse.at) else None


def forget_pulse(folder: Path, run_id: str) -> None:
    """Remove what was said of a run, be it half written. It costs nothing but a file if that cannot be."""
    for path in (_place(folder, run_id), _partial(folder, run_id)):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _place(folder: Path, run_id: str) -> Path:
    return folder / f"{run_id}.pulse"


def _partial(folder: Path, run_id: str) -> Path:
    return folder / f"{run_id}.pulse.part"
