"""Steps that are done again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from jaxtyping import config

SAMPLE = 10
"""Of so many steps, one is checked."""


def checked_now_and_then(number: int) -> AbstractContextManager[None]:
    """Let the shapes in one of `SAMPLE` steps be checked, the first among them: in the others they are the same.

    To check them takes as long as a step of a small model.
    """
    return _unchecked() if number % SAMPLE else nullcontext()


@contextmanager
def _unchecked() -> Iterator[None]:
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", False)
