"""Pulses: small files that say how far each run is, for those who look on from another process.

They are written where a run is computed, whatever computes it, and lie beside the checkpoints while it goes on. A
process that is killed leaves its pulse, which is old then, and goes with the checkpoint.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING, Any, NamedTuple

from collapsebench.experiment.events import Evaluated, Resumed, Started, Stepped, Testing

if TYPE_CHECKING:
    from collapsebench.experiment.events import Event

INTERVAL = 2.0
"""The least seconds between two pulses of a run."""
LONGEST = 1000
"""The number of letters of a pulse that are read. No pulse has as many."""
LONGEST_NAME = 200
"""The number of letters of a machine's name that are kept."""
SILENT = 120.0
"""A run that has said nothing for so many seconds may have been killed."""


class Pulse(NamedTuple):
    """How far a run is. Of runs that older programs compute, share and time alone are known."""

    share: float
    """The share of its budget that is spent, 0 to 1."""
    at: float
    """When it said so, in seconds since 1970."""
    steps: int | None = None
    """The number of steps done."""
    bound: float | None = None
    """The last negative ELBO on the validation split, in nats per example."""
    node: str = ""
    """The name of the machine that computes it."""

    @property
    def silent(self) -> float:
        """The seconds since it said so."""
        return max(0.0, time.time() - self.at)

    @property
    def fresh(self) -> bool:
        """True if that is not long ago."""
        return self.silent <= SILENT


class Pulses:
    """An observer that writes how far the runs of one process are, one run after the other.

    It writes now and then. It costs no run if that cannot be written.
    """

    def __init__(
        self, folder: Path, clock: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time
    ) -> None:
        """Write to this folder. `clock` tells seconds, and `now` those since 1970."""
        self._folder, self._clock, self._now = folder, clock, now
        self._start = Pulse(0.0, 0.0, node=gethostname()[:LONGEST_NAME])
        self._run_id, self._pulse, self._written = "", self._start, -math.inf
        self._former: Pulse | None = None

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if event.run_id != self._run_id:
            self._run_id, self._pulse, self._written = event.run_id, self._start, -math.inf
        match event:
            case Started():
                self._former = read_pulse(self._folder, self._run_id)
                self._write(self._start)
            case Resumed():
                bound = self._former and self._former.bound
                self._pulse = self._pulse._replace(steps=event.steps, bound=bound)
            case Stepped():
                self._beat(self._pulse._replace(share=event.fraction, steps=event.steps))
            case Evaluated():
                values, steps = event.point.values, int(event.point.counters["steps"])
                self._pulse = self._pulse._replace(bound=float(values["neg_elbo"]), steps=steps)
            case Testing():
                self._write(self._pulse._replace(share=1.0))

    def _beat(self, pulse: Pulse) -> None:
        """Write a pulse if the last one is old enough."""
        if self._clock() - self._written >= INTERVAL:
            self._written = self._clock()
            self._write(pulse)

    def _write(self, pulse: Pulse) -> None:
        self._pulse = pulse._replace(at=self._now())
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            partial = _partial(self._folder, self._run_id)
            partial.write_text(json.dumps(self._pulse._asdict()), encoding="utf-8")
            partial.replace(_place(self._folder, self._run_id))


def read_pulse(folder: Path, run_id: str) -> Pulse | None:
    """Return how far a run is; None if nobody has said so, or not in this way."""
    try:
        with _place(folder, run_id).open(encoding="utf-8") as file:
            return _parsed(dict(json.loads(file.read(LONGEST))))
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return None


def _parsed(found: dict[str, Any]) -> Pulse:
    """Return what lies in a file. Raises one of several errors if it is no pulse."""
    steps, bound = found.get("steps"), found.get("bound")
    pulse = Pulse(
        float(found["share"]),
        float(found["at"]),
        None if steps is None else int(steps),
        None if bound is None else float(bound),
        str(found.get("node", ""))[:LONGEST_NAME],
    )
    if not (0 <= pulse.share <= 1 and math.isfinite(pulse.at)):
        raise ValueError("no pulse")
    return pulse


def forget_pulse(folder: Path, run_id: str) -> None:
    """Remove what was said of a run, be it half written. It costs nothing but a file if that cannot be."""
    for path in (_place(folder, run_id), _partial(folder, run_id)):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _place(folder: Path, run_id: str) -> Path:
    return folder / f"{run_id}.pulse"


def _partial(folder: Path, run_id: str) -> Path:
    return folder / f"{run_id}.pulse.part"
