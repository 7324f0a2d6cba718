"""Signals that end a grid: they become `Interrupted`, and are held back where that would do harm."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Any, Self

from collapsebench.errors import Interrupted

if TYPE_CHECKING:
    from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, the end of a time limit, and the end of a terminal."""


class Interrupts:
    """Turns signals into `Interrupted` in the block, and holds them back where a method says so.

    A signal that the user ignores, as `nohup` does, stays ignored. Signals come to the main thread alone, so that in
    another thread this does nothing. The first signal counts; only Ctrl-C may come again.
    """

    def __init__(self, numbers: tuple[signal.Signals, ...] = STOPPING) -> None:
        self._numbers, self._held = numbers, False
        self._received: Interrupted | None = None
        self._pending = False
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if current_thread() is main_thread():
            for number in self._numbers:
                if signal.getsignal(number) not in {signal.SIG_IGN, None}:
                    self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    @property
    def pending(self) -> bool:
        """True if a signal came that is held back."""
        return self._pending

    def check(self) -> None:
        """Raise Interrupted if a signal came, even if somebody caught that already, as a plugin may."""
        if self._received is not None:
            raise self._received

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold signals back in the block. One that came raises Interrupted at its end."""
        with self._holding(held=True):
            yield
        self._raise_pending()

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Let signals raise Interrupted in the block, though held back around it. One that came does so at once."""
        with self._holding(held=False):
            self._raise_pending()
            yield

    @contextmanager
    def _holding(self, *, held: bool) -> Iterator[None]:
        before, self._held = self._held, held
        try:
            yield
        finally:
            self._held = before

    def _raise_pending(self) -> None:
        if self._pending and not self._held:
            self._pending = False
            self.check()

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._received is None or number == signal.SIGINT:
            self._received, self._pending = Interrupted(number), True
            self._raise_pending()
