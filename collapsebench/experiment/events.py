"""The events that a run sends while it goes on. They are plain values, so that another process can send them."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from collapsebench.errors import Interrupted, error_line

if TYPE_CHECKING:
    from collapsebench.record import Point, RunRecord


@dataclass(frozen=True)
class _WithRecord:
    record: RunRecord

    @property
    def run_id(self) -> str:
        """The id of the run that sent the event."""
        return self.record.run_id


@dataclass(frozen=True)
class Started(_WithRecord):
    """A run begins.

    >>> import collapsebench
    >>> from collapsebench import Started
    >>> heard = []
    >>> runs = collapsebench.run(dataset="linear-gaussian", budget="2steps", store="a.sqlite", progress=heard.append)
    >>> [event.record.outcome.value for event in heard if isinstance(event, Started)]
    ['started']
    """


@dataclass(frozen=True)
class Skipped(_WithRecord):
    """A run is not run here, because another process computes it or has stored it.

    >>> from collapsebench import Skipped
    >>> Skipped(record=None, reason="another process computes it").reason
    'another process computes it'
    """

    reason: str


@dataclass(frozen=True)
class Warned:
    """A warning about a run, for the user.

    >>> from collapsebench import Warned
    >>> Warned("0123456789abcdef", "cannot write the checkpoint").message
    'cannot write the checkpoint'
    """

    run_id: str
    message: str


@dataclass(frozen=True)
class Resumed:
    """A run goes on from a checkpoint.

    >>> from collapsebench import Resumed
    >>> Resumed("0123456789abcdef", steps=120).steps
    120
    """

    run_id: str
    steps: int
    """The number of steps that are in the checkpoint."""


@dataclass(frozen=True)
class Stepped:
    """Steps of a run are done. A run sends this event now and then, not at every step.

    >>> from collapsebench import Stepped
    >>> Stepped("0123456789abcdef", steps=100, fraction=0.25, loss=31.5, kl=1.5).fraction
    0.25
    """

    run_id: str
    steps: int
    """The number of steps done."""
    fraction: float
    """The share of the budget that is spent, 0 to 1."""
    loss: float
    """The training objective on the last batch, in nats."""
    kl: float
    """The KL on the last batch, in nats."""


@dataclass(frozen=True)
class Evaluated:
    """A run has done a scheduled evaluation on the validation split.

    >>> import collapsebench
    >>> from collapsebench import Evaluated
    >>> heard = []
    >>> runs = collapsebench.run(dataset="linear-gaussian", budget="2steps", store="a.sqlite", progress=heard.append)
    >>> [event.point.counters["steps"] for event in heard if isinstance(event, Evaluated)]
    [2.0]
    """

    run_id: str
    point: Point


@dataclass(frozen=True)
class Testing:
    """A run is trained, and its metrics are being computed.

    >>> import collapsebench
    >>> from collapsebench import Testing
    >>> heard = []
    >>> runs = collapsebench.run(dataset="linear-gaussian", budget="2steps", store="a.sqlite", progress=heard.append)
    >>> [event.run_id == runs[0].run_id for event in heard if isinstance(event, Testing)]
    [True]
    """

    run_id: str


@dataclass(frozen=True)
class Finished(_WithRecord):
    """A run is over. The record has its outcome: a result, a failure or an interrupt.

    >>> import collapsebench
    >>> from collapsebench import Finished
    >>> heard = []
    >>> runs = collapsebench.run(dataset="linear-gaussian", budget="2steps", store="a.sqlite", progress=heard.append)
    >>> [event.record.outcome.value for event in heard if isinstance(event, Finished)]
    ['finished']
    """


Event: TypeAlias = Started | Skipped | Warned | Resumed | Stepped | Evaluated | Testing | Finished
"""An event of a run. A run sends its events in this order, with further steps and evaluations between them.

>>> import collapsebench
>>> heard = []
>>> runs = collapsebench.run(dataset="linear-gaussian", budget="2steps", store="a.sqlite", progress=heard.append)
>>> [type(event).__name__ for event in heard]
['Started', 'Stepped', 'Evaluated', 'Testing', 'Finished']
"""
Observer: TypeAlias = Callable[[Event], None]
"""A function that gets the events of all runs of a grid. Runs can go on at the same time: their ids differ."""


def _warn(text: str) -> None:
    with suppress(Warning):  # where warnings are errors
        warnings.warn(text, RuntimeWarning, stacklevel=3)


class Shielded:
    """An observer that passes events on to another one, whose errors reach no run: the first of them is a warning.

    If that one raises KeyboardInterrupt, its user wants the grid to end.
    """

    def __init__(
        self, observe: Observer, what: str = "the function that follows the runs", tell: Callable[[str], None] = _warn
    ) -> None:
        """`what` is the observer in words. `tell` is told in one line that it failed."""
        self._observe, self._what, self._tell = observe, what, tell
        self._failed = False

    def __call__(self, event: Event) -> None:
        """Pass on one event."""
        try:
            self._observe(event)
        except Interrupted:
            raise
        except KeyboardInterrupt:
            raise Interrupted(signal.SIGINT) from None
        except BaseException as error:  # noqa: BLE001 - it is the user's own code
            if not self._failed:
                self._failed = True
                self._tell(f"{self._what} failed: {error_line(error)}; the runs go on")


class ToAll:
    """An observer that passes every event on to several observers, in turn."""

    def __init__(self, observers: Iterable[Observer]) -> None:
        self._observers = tuple(observers)

    def __call__(self, event: Event) -> None:
        """Pass on one event."""
        for observe in self._observers:
            observe(event)


PULSE = 0.25
"""The seconds between two `Stepped` events of a run whose observer is in the same process."""
REMOTE_PULSE = 1.0
"""The seconds between two `Stepped` events that pass a pipe or a network."""
