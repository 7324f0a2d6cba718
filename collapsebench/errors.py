"""Errors that a user can act on: one line that says what, got, where, and the valid choices."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from collapsebench.printable import printable

LONGEST_VALUE = 60
"""The number of characters that are shown of a wrong value at most."""
LONGEST_LINE = 1000
"""The number of characters that are shown of an error at most."""


class CollapsebenchError(Exception):
    """The base of every expected error. The command line prints it as one line and exits with `exit_code`.

    >>> from collapsebench import CollapsebenchError, StoreError
    >>> issubclass(StoreError, CollapsebenchError), CollapsebenchError.exit_code
    (True, 1)
    """

    exit_code = 1


class UsageError(CollapsebenchError):
    """The user wrote something wrong: a name, a value, a file. Nothing was started.

    >>> from collapsebench import UsageError
    >>> raise UsageError("unknown method 'skpi'. Did you mean 'skip'?")
    Traceback (most recent call last):
    collapsebench.errors.UsageError: unknown method 'skpi'. Did you mean 'skip'?
    """

    exit_code = 2


class DataError(CollapsebenchError):
    """A data file is missing, truncated, corrupted, empty or of another format than it should be.

    >>> from collapsebench import DataError, Images
    >>> class Mine(Images):
    ...     name = "mine"
    ...     stem = "mine"
    >>> Mine().parse({f"mine.{split}.npy": b"" for split in ("train", "valid", "test")})
    Traceback (most recent call last):
    collapsebench.errors.DataError: file 'mine.train.npy' is not a numpy array: ...
    """


class StoreError(CollapsebenchError):
    """The store cannot be read or written: not a database, read-only, locked, full, or of a newer schema.

    >>> import collapsebench
    >>> collapsebench.runs(store="nowhere.sqlite")
    Traceback (most recent call last):
    collapsebench.errors.StoreError: there is no store 'nowhere.sqlite' yet: `collapsebench run` makes one
    """


class PluginError(CollapsebenchError):
    """A plugin breaks its contract: wrong class, unknown hook, duplicate name, a tensor of a wrong shape.

    >>> from collapsebench import PluginError
    >>> str(PluginError("plugin 'mine' has no hook collapsebench_components"))
    "plugin 'mine' has no hook collapsebench_components"
    """


class DivergedError(CollapsebenchError):
    """The training loss became NaN or infinite.

    >>> from collapsebench import DivergedError
    >>> str(DivergedError("step 7: loss nan, gradient norm nan"))
    'step 7: loss nan, gradient norm nan'
    """


class TimeLimitError(CollapsebenchError):
    """A run took longer than its user allows."""


class Interrupted(KeyboardInterrupt):
    """A signal told a grid to stop. A KeyboardInterrupt that a plugin raises by itself is not of this class."""

    def __init__(self, number: int) -> None:
        """`number` is that of the signal."""
        super().__init__(number)
        self.exit_code = 128 + number

    def __str__(self) -> str:
        number = signal.Signals(self.exit_code - 128)
        return "interrupted by the user" if number is signal.SIGINT else f"interrupted by signal {number.name}"


def covered_signal(error: BaseException) -> Interrupted | None:
    """Return the signal that came before an error, in whose handling the error was raised; None if there was none.

    torch.save raises an error of its own when a signal ends it in the middle.
    """
    seen: list[BaseException] = []
    before: BaseException | None = error
    while before is not None and before not in seen:
        if isinstance(before, Interrupted):
            return before
        seen.append(before)
        before = before.__cause__ or before.__context__
    return None


def error_line(error: BaseException) -> str:
    """Return the error in one printable line. Errors that users are expected to meet go without their type."""
    name = printable(type(error).__name__)
    try:
        text = printable(" ".join(str(error)[:LONGEST_LINE].split()))
    except BaseException as another:  # noqa: BLE001 - plugins write such texts, too
        return f"{name}, whose text cannot be made ({type(another).__name__})"
    if isinstance(error, CollapsebenchError):
        return text
    return f"{name}: {text}" if text else name


def place_of(function: Any) -> str:
    """Return the place of a function in its file: `my_method.py:12`."""
    code = function.__code__
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}"


def place_of_class(kind: type) -> str:
    """Return the place of a class in its file: `my_method.py:12`; empty if it is in no file."""
    import inspect  # it takes long to import, and nobody waits for it who makes no mistake

    try:
        return f"{Path(inspect.getfile(kind)).name}:{inspect.getsourcelines(kind)[1]}"
    except (OSError, TypeError):
        return ""


def place_in_module(module: Any) -> str:
    """Return where a module of torch computes: `mine.py:12, forward of Mine`. One of torch itself has no place."""
    kind = type(module)
    place = "" if kind.__module__.partition(".")[0] == "torch" else f"{place_of(kind.forward)}, "
    return f"{place}forward of {kind.__name__}"


def brief(value: object) -> str:
    """Return a value in a few printable characters."""
    return printable(repr(value))[:LONGEST_VALUE]


def unexpected(where: str, got: str, wanted: str) -> PluginError:
    """Return the error of a function of a plugin that returned something else than it should.

    >>> str(unexpected("mine.py:12, kl_weight of method 'mine'", "'fast'", "a number"))
    "mine.py:12, kl_weight of method 'mine': returned 'fast', expected a number"
    """
    return PluginError(f"{where}: returned {got}, expected {wanted}")


def no_store(store: str) -> str:
    """Write the line for a store that does not exist yet."""
    return f"there is no store '{store}' yet: `collapsebench run` makes one"


def unknown(what: str, got: str, choices: Iterable[str], otherwise: str = "") -> str:
    """Write the line for a name that does not exist: the name, the nearest match, and every valid choice.

    `otherwise` is what helps where no choice is near.

    >>> unknown("method", "mine", ["skip"], "One of your own needs --plugin FILE.")
    "unknown method 'mine'. One of your own needs --plugin FILE. Known: skip"

    A name with a comma is in quotes, as others would take it for two.

    >>> unknown("model", "mine", ["Skip-VAE", "Skip-VAE, BN-VAE"])
    "unknown model 'mine'. Known: Skip-VAE, 'Skip-VAE, BN-VAE'"
    """
    from difflib import get_close_matches  # nobody waits for it who makes no mistake

    names = sorted(choices)
    near = get_close_matches(got, names, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else otherwise
    known = ", ".join(f"'{name}'" if ", " in name else name for name in names)
    return f"unknown {what} '{got}'.{hint and f' {hint}'} Known: {known or 'none'}"
