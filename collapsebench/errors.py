"""Errors that a user can act on: one line that says what, got, where, and the valid choices."""

from __future__ import annotations

from collections.abc import Iterable


class CollapsebenchError(Exception):
    """The base of every expected error. The command line prints it as one line and exits with `exit_code`."""

    exit_code = 1


class UsageError(CollapsebenchError):
    """Something the user wrote is wrong: a name, a value, a file. Nothing was started."""

    exit_code = 2


class DataError(CollapsebenchError):
    """A data file is missing, truncated, corrupted, empty or not in the format it should have."""


class StoreError(CollapsebenchError):
    """The store cannot be read or written: not a database, read-only, locked, full, or of a newer schema."""


class PluginError(CollapsebenchError):
    """A plugin breaks its contract: wrong class, unknown hook, duplicate name, a tensor of a wrong shape."""


class DivergedError(CollapsebenchError):
    """The training loss became NaN or infinite."""


def no_store(store: str) -> str:
    """The line for a store that does not exist yet."""
    return f"there is no store '{store}' yet: `collapsebench run` makes one"


def unknown(what: str, got: str, choices: Iterable[str]) -> str:
    """The line for a name that does not exist: what it was, the nearest match, and every valid choice."""
    from difflib import get_close_matches  # nobody waits for it who makes no mistake

    names = sorted(choices)
    near = get_close_matches(got, names, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"unknown {what} '{got}'.{hint} Known: {', '.join(names) or 'none'}"
