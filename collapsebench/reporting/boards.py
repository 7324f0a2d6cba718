"""The boards of stored runs: one for each protocol that is meant, as a view shows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.components import discovery
from collapsebench.errors import StoreError
from collapsebench.experiment.memory import uncollected
from collapsebench.metrics.dialects import Dialect
from collapsebench.reporting.leaderboard import (
    ENTRIES,
    Board,
    Cut,
    best_possible,
    compare_with,
    in_dialect,
    order,
    score,
    select,
)
from collapsebench.reporting.queries import EVERY_PROTOCOL, ProtocolQuery
from collapsebench.syntax import canonical

if TYPE_CHECKING:
    from collapsebench.store import Store


class BoardView(NamedTuple):
    """How boards show the runs of a protocol."""

    scored: Cut | Dialect | None = None
    """At a cut through the trajectories, as another paper would have scored the runs, or, if None, at the end."""
    against: str | None = None
    """The contender that differences are to; the baseline if None."""
    sort: str | None = None
    """The column by which rows are in order; if None, the baseline is first and the others follow by name."""
    columns: Sequence[str] = ()
    """The columns that are shown, by key; all if there is none."""


AT_THE_END = BoardView()
"""All columns of the metrics, of the test split."""


def boards(
    store: Store, query: ProtocolQuery = EVERY_PROTOCOL, view: BoardView = AT_THE_END, plugins: Sequence[Path] = ()
) -> Iterator[Board]:
    """Make the boards of all protocols that are meant, one at a time, as they are asked for.

    A protocol is shown with all its runs if any of them is meant. `plugins` are files of datasets whose best possible
    numbers are wanted, beside the installed ones. The store must stay open until the last board is made. Raises
    StoreError if no run is meant, or if none has what the view shows, and UsageError for a contender or a column that
    no board has: at once, not with a later board.
    """
    found = _scored(store, query, view.scored)
    if view.scored is None:
        components = discovery.load(plugins, kinds={"dataset"})
        found = (replace(board, reference=best_possible(board.protocol, components)) for board in found)
    if view.against is not None:
        found = compare_with(found, canonical(view.against))
    if view.sort is not None:
        found = order(found, view.sort)
    if view.columns:
        found = select(found, view.columns)
    return chain([next(found)], found)


def _scored(store: Store, query: ProtocolQuery, scored: Cut | Dialect | None) -> Iterator[Board]:
    """Score the protocols that are meant, one board in memory at a time."""
    protocols = store.protocols(**query._asdict())
    if not protocols:
        raise _no_runs(store, query)
    found = (_board(store, protocol.protocol_id, scored) for protocol in protocols)
    yield from found if scored is None else _with_numbers(found, scored)


@uncollected()
def _board(store: Store, protocol: str, scored: Cut | Dialect | None) -> Board:
    if isinstance(scored, Cut):
        runs = store.observations(protocol=protocol, trajectories=True)
        return replace(score(scored.through(runs)), at=str(scored))
    if isinstance(scored, Dialect):
        entries = (*ENTRIES, *(column.name for column in scored.columns))
        runs = store.observations(protocol=protocol, entries=entries)
        return replace(score(in_dialect(runs, scored)), dialect=scored)
    return score(store.observations(protocol=protocol, entries=ENTRIES))


def _with_numbers(found: Iterator[Board], scored: Cut | Dialect) -> Iterator[Board]:
    """Hold the boards back until one has numbers of metrics. Raises StoreError if none has."""
    empty: list[Board] = []
    for board in found:
        if any(column.metric for column in board.columns):
            yield from (*empty, board)
            break
        empty.append(board)
    else:
        raise StoreError(_no_numbers(scored))
    yield from found


def _no_numbers(scored: Cut | Dialect) -> str:
    if isinstance(scored, Cut):
        return f"no finished run was evaluated both before and after {scored}"
    return (
        f"no finished run was scored in the dialect {scored.name}: that is done at the end of a run, by the metric "
        "'dialects' of its track"
    )


def _no_runs(store: Store, query: ProtocolQuery) -> StoreError:
    stored = sorted({f"{protocol.dataset} {protocol.track}" for protocol in store.protocols()})
    wanted = " ".join(f"{name} '{value}'" for name, value in query._asdict().items() if value is not None)
    return StoreError(
        f"no runs of {wanted or 'anything'} in the store (it has: {', '.join(stored) or 'none'}); "
        f"make some: collapsebench run --method skip --dataset {query.dataset or 'synthetic-text'}"
    )
