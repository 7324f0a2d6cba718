"""Queries select stored protocols. They are plain values, so that they do not import suites."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collapsebench.store import ProtocolSummary, Store


class ProtocolQuery(NamedTuple):
    """Selects the stored protocols that have all of these values. None stands for any value."""

    dataset: str | None = None
    track: str | None = None
    """The track. A name without overrides includes all of them: `quick` means `quick[decoder.layers=3]`, too."""
    protocol: str | None = None
    """The id of a protocol, or its first digits."""


EVERY_PROTOCOL = ProtocolQuery()


class SuiteQuery(NamedTuple):
    """Selects the stored protocols of a suite."""

    suite: str
    """The name of the suite, or its TOML file."""
    scale: str = "small"
    variants: tuple[str, ...] = ()
    plugins: tuple[Path, ...] = ()
    """The files of plugins that the suite needs and that are not installed."""
    dataset: str | None = None
    """The dataset of the selected cells; None stands for any dataset."""
    cells: tuple[str, ...] = ()
    """The names of the selected cells; all cells if empty."""

    @property
    def command(self) -> str:
        """The command that runs the suite, or these cells of it."""
        cells = "".join(f" --cell {shlex.quote(cell)}" for cell in self.cells)
        return f"collapsebench suite run {self._name} {self._setting}{cells}"

    @property
    def board_command(self) -> str:
        """The command that shows the suite beside its paper."""
        return f"collapsebench leaderboard --suite {self._name} {self._setting}"

    @property
    def league_command(self) -> str:
        """The command that shows the suite as a league."""
        return f"collapsebench league {self._name} {self._setting}"

    @property
    def _name(self) -> str:
        return shlex.quote(self.suite)

    @property
    def _setting(self) -> str:
        variants = (f"--variant {shlex.quote(name)}" for name in self.variants)
        plugins = (f"--plugin {shlex.quote(str(path))}" for path in self.plugins)
        return " ".join((f"--scale {shlex.quote(self.scale)}", *variants, *plugins))


def compared_protocols(store: Store, query: ProtocolQuery) -> list[ProtocolSummary]:
    """Return the selected protocols. Those of trials are left out, but for one that is named by its id."""
    found = store.protocols(**query._asdict())
    return [protocol for protocol in found if query.protocol is not None or not protocol.of_trials]


Query: TypeAlias = ProtocolQuery | SuiteQuery
