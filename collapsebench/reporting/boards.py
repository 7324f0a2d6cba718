"""The boards of stored runs, one for each selected protocol, in a chosen view."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from collapsebench.components import discovery
from collapsebench.errors import StoreError
from collapsebench.experiment.memory import uncollected
from collapsebench.metrics.dialects import Dialect
from collapsebench.observation import unreadable_line
from collapsebench.reporting.leaderboard import (
    ENTRIES,
    Board,
    Cut,
    Limits,
    Presentation,
    RowOrder,
    Shown,
    best_possible,
    compare_with,
    in_dialect,
    keep,
    likelihood_limits,
    order,
    present,
    score,
    select,
)
from collapsebench.reporting.queries import EVERY_PROTOCOL, ProtocolQuery, compared_protocols
from collapsebench.reporting.tuning import Tunings
from collapsebench.syntax import canonical

if TYPE_CHECKING:
    from collapsebench.observation import Observation, Unreadable
    from collapsebench.store import Store


class BoardView(NamedTuple):
    """The choices that say how boards show the runs of a protocol."""

    scored: Cut | Dialect | None = None
    """A cut through the trajectories, or the dialect of another paper. If None, runs are scored at their end."""
    against: str | None = None
    """The contender that is subtracted from the others; the baseline if None."""
    sort: str | None = None
    """The column that sorts the rows. If None, people see them by the column that decides, and exports by name."""
    columns: Shown | Sequence[str] = Shown.USUAL
    """The columns that people see, or the keys of those that exports have, too."""
    contenders: Sequence[str] = ()
    """The contenders that are shown beside the compared one; all contenders if empty."""
    labels: Mapping[str, str] = {}
    """How people read contenders, by their canonical texts."""
    print_differences: bool = False
    """True if LaTeX gets a second table, with the paired differences."""

    @property
    def presentation(self) -> Presentation:
        """How the boards are shown to people."""
        columns = self.columns if isinstance(self.columns, Shown) else Shown.EVERY
        order = RowOrder.BY_DECISION if self.sort is None else RowOrder.AS_SCORED
        return Presentation(columns, order, self.labels, self.print_differences)


AT_THE_END = BoardView()
"""The usual view, with the metrics of the test split."""


def boards(
    store: Store, query: ProtocolQuery = EVERY_PROTOCOL, view: BoardView = AT_THE_END, plugins: Sequence[Path] = ()
) -> Iterator[Board]:
    """Make the boards of all selected protocols. The iterator makes one board at a time.

    A protocol is shown with all its runs if the query selects any of them. `plugins` are files of datasets that are not
    installed; their best possible numbers are shown, too. The store must stay open until the last board is made.

    Raises StoreError if no run is selected, or if no run has the numbers of the view. Raises UsageError for a contender
    or a column that no board has. Both are raised at once, before the first board is returned.
    """
    components = discovery.load(plugins, kinds={"dataset"})
    limits = likelihood_limits(components, "valid" if isinstance(view.scored, Cut) else "test")
    tunings = Tunings(store, plugins)
    found: Iterator[Board] = (tunings.on(board) for board in _scored(store, query, view.scored, limits))
    if view.scored is None:
        found = (replace(board, reference=best_possible(board.protocol, components)) for board in found)
    if view.against is not None:
        found = compare_with(found, canonical(view.against))
    if view.sort is not None:
        found = order(found, view.sort)
    found = present(found, view.presentation)
    if view.contenders:
        found = keep(found, [canonical(text) for text in view.contenders])
    if not isinstance(view.columns, Shown):
        found = select(found, view.columns)
    return chain([next(found)], found)


def _scored(store: Store, query: ProtocolQuery, scored: Cut | Dialect | None, limits: Limits) -> Iterator[Board]:
    """Score the selected protocols, with one board in memory at a time."""
    protocols = compared_protocols(store, query)
    of_no_protocol = store.unreadable
    readable = _readable(store, [protocol.protocol_id for protocol in protocols], scored, limits)
    first = next(readable, None)
    if first is None:
        raise _no_runs(store, query)
    left_out = tuple(dict.fromkeys((*first.left_out, *of_no_protocol)))
    found = chain([replace(first, left_out=left_out)], readable)
    yield from found if scored is None else _with_numbers(found, scored)


def _readable(store: Store, protocols: Iterable[str], scored: Cut | Dialect | None, limits: Limits) -> Iterator[Board]:
    """Yield the boards that have runs. If no run of a protocol can be read, its runs are named on a board beside it."""
    held: Board | None = None
    lost: list[Unreadable] = []
    for protocol in protocols:
        left_out: list[Unreadable] = []
        board = _board(store, protocol, scored, limits, left_out)
        lost += left_out
        if board is None:
            continue
        if held is not None:
            yield held
        held, lost = replace(board, left_out=tuple(lost)), []
    if held is not None:
        yield replace(held, left_out=(*held.left_out, *lost))


@uncollected()
def _board(
    store: Store, protocol: str, scored: Cut | Dialect | None, limits: Limits, left_out: list[Unreadable]
) -> Board | None:
    """Score the runs of a protocol. Returns None if none of them can be read. `left_out` gets those that cannot."""
    read = partial(store.observations, protocol=protocol, left_out=left_out)
    if isinstance(scored, Cut):
        board = _score(scored.through(read(trajectories=True)), limits, at=str(scored))
    elif isinstance(scored, Dialect):
        entries = (*ENTRIES, *(column.name for column in scored.columns))
        board = _score(in_dialect(read(entries=entries), scored), limits, dialect=scored)
    else:
        board = _score(read(entries=ENTRIES), limits)
    return board


def _score(runs: Iterable[Observation], limits: Limits, **view: Any) -> Board | None:
    observed = list(runs)
    return replace(score(observed, limits), **view) if observed else None


def _with_numbers(found: Iterator[Board], scored: Cut | Dialect) -> Iterator[Board]:
    """Hold boards back until one of them has numbers of metrics. Raises StoreError if no board has them."""
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
    if store.unreadable:
        return StoreError(unreadable_line(store.unreadable))
    stored = sorted({f"{protocol.dataset} {protocol.track}" for protocol in store.protocols()})
    wanted = " ".join(f"{name} '{value}'" for name, value in query._asdict().items() if value is not None)
    track = f" --track {shlex.quote(query.track)}" if query.track and "[" not in query.track else ""
    return StoreError(
        f"no runs of {wanted or 'anything'} in the store (it has: {', '.join(stored) or 'none'}); "
        f"make some: collapsebench run --method skip --dataset {query.dataset or 'synthetic-text'}{track}"
    )
