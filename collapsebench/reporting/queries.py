"""Queries: which stored protocols are meant. Plain values, so that what needs no suite does not import suites."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, TypeAlias


class ProtocolQuery(NamedTuple):
    """The stored protocols that have all of these; None stands for any."""

    dataset: str | None = None
    track: str | None = None
    """A bare name includes its overrides: `quick` means `quick[decoder.layers=3]`, too."""
    protocol: str | None = None
    """An id, or its first digits."""


EVERY_PROTOCOL = ProtocolQuery()


class SuiteQuery(NamedTuple):
    """The stored protocols of a suite."""

    suite: str
    """Its name, or a TOML file."""
    scale: str = "small"
    variants: tuple[str, ...] = ()
    plugins: tuple[Path, ...] = ()
    """Files of plugins that the suite needs, beside the installed ones."""
    dataset: str | None = None
    """Only the cells of this dataset; None stands for any."""
    cells: tuple[str, ...] = ()
    """Only these cells, by name; all if there is none."""

    @property
    def command(self) -> str:
        """The command that runs the suite."""
        return f"collapsebench suite run {self.suite} {self._setting}"

    @property
    def board_command(self) -> str:
        """The command that shows the suite beside its paper."""
        return f"collapsebench leaderboard --suite {self.suite} {self._setting}"

    @property
    def _setting(self) -> str:
        return " ".join((f"--scale {self.scale}", *(f"--variant {name}" for name in self.variants)))


Query: TypeAlias = ProtocolQuery | SuiteQuery
