"""What `collapsebench leaderboard` writes: one table a protocol, from the stored runs."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

from collapsebench.components import discovery
from collapsebench.errors import StoreError, UsageError
from collapsebench.experiment.memory import uncollected
from collapsebench.reporting.leaderboard import (
    DIALECTS,
    ENTRIES,
    Cut,
    best_possible,
    compare_with,
    in_dialect,
    order,
    pieces,
    score,
    select,
)
from collapsebench.syntax import parse_composition, print_composition

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from collapsebench.metrics.dialects import Dialect
    from collapsebench.reporting.leaderboard import Board
    from collapsebench.store import Filters, Store


def texts(store: str, width: int | None, given: Mapping[str, Any]) -> Iterator[str]:
    """What `leaderboard` writes, in pieces: boards of protocols or of a suite, as its options ask for."""
    columns = [] if given["columns"] is None else [key.strip() for key in given["columns"].split(",")]
    return (_suite if given["suite"] is not None else _protocols)(store, columns, width, given)


def _suite(url: str, columns: list[str], width: int | None, given: Mapping[str, Any]) -> Iterator[str]:
    from collapsebench.reporting.suite_boards import Asked, suite_pieces
    from collapsebench.store import Store

    _alone("suite", ("dataset", "track", "protocol", "sort", "against", "at", "dialect"), given)
    asked = Asked(given["suite"], given["scale"], given["variants"], given["plugins"])
    with Store.open(url, create=False) as store:
        return suite_pieces(asked, store, columns, given["format_"], width=width)


def _protocols(url: str, columns: list[str], width: int | None, given: Mapping[str, Any]) -> Iterator[str]:
    view = _view(given)
    boards = _boards(url, view, dataset=given["dataset"], track=given["track"], protocol=given["protocol"])
    if view == View():
        components = discovery.load(given["plugins"], kinds={"dataset"})
        boards = (replace(b, reference=best_possible(b.protocol, components)) for b in boards)
    if given["against"] is not None:
        boards = compare_with(boards, _label(given["against"]))
    if given["sort"] is not None:
        boards = order(boards, given["sort"])
    if columns:
        boards = select(boards, columns)
    begun = chain([next(boards)], boards)  # what is wrong with the options shows before anything is written
    return pieces(begun, given["format_"], width=width)


def _label(contender: str) -> str:
    """As boards print it, however it is spaced."""
    return print_composition(parse_composition(contender))


def _alone(option: str, others: Iterable[str], given: Mapping[str, Any]) -> None:
    """Raise UsageError if an option is given together with those that mean nothing beside it."""
    found = [f"--{other}" for other in others if given[other] is not None]
    if found:
        raise UsageError(f"--{option} does not go with {', '.join(found)}")


class View(NamedTuple):
    """What a board shows in place of the metrics' columns."""

    cut: Cut | None = None
    dialect: Dialect | None = None

    @property
    def absent(self) -> str:
        """What to say if no run has it."""
        if self.dialect is None:
            return f"no finished run was evaluated both before and after {self.cut}"
        return (
            f"no finished run was scored in the dialect {self.dialect.name}: that is done at the end of a run, by the "
            "metric 'dialects' of its track"
        )


def _view(given: Mapping[str, Any]) -> View:
    if given["dialect"] is not None:
        _alone("dialect", ("at",), given)
        return View(dialect=DIALECTS[given["dialect"]])
    return View() if given["at"] is None else View(cut=Cut.parse(given["at"]))


def _boards(url: str, view: View, **chosen: Unpack[Filters]) -> Iterator[Board]:
    """Whole boards, one in memory at a time: a protocol is shown with all its runs if any of them is meant."""
    from collapsebench.store import Store

    with Store.open(url, create=False) as store:
        protocols = store.protocols(**chosen)
        if not protocols:
            raise _no_runs(store, chosen)
        boards = (_board(store, protocol.protocol_id, view) for protocol in protocols)
        yield from boards if view == View() else _evaluated(boards, view)


@uncollected()
def _board(store: Store, protocol: str, view: View) -> Board:
    if view.cut is not None:
        runs = store.observations(protocol=protocol, trajectories=True)
        return replace(score(view.cut.through(runs)), at=str(view.cut))
    if view.dialect is not None:
        entries = (*ENTRIES, *(column.name for column in view.dialect.columns))
        runs = store.observations(protocol=protocol, entries=entries)
        return replace(score(in_dialect(runs, view.dialect)), dialect=view.dialect)
    return score(store.observations(protocol=protocol, entries=ENTRIES))


def _evaluated(boards: Iterator[Board], view: View) -> Iterator[Board]:
    """The boards, held back until one has numbers. Raises StoreError if none has."""
    empty: list[Board] = []
    for board in boards:
        if any(column.metric for column in board.columns):
            yield from (*empty, board)
            break
        empty.append(board)
    else:
        raise StoreError(view.absent)
    yield from boards


def _no_runs(store: Store, chosen: Filters) -> StoreError:
    stored = sorted({f"{protocol.dataset} {protocol.track}" for protocol in store.protocols()})
    wanted = " ".join(f"{name} '{value}'" for name, value in chosen.items() if value is not None)
    example = chosen.get("dataset") or "synthetic-text"
    return StoreError(
        f"no runs of {wanted or 'anything'} in the store (it has: {', '.join(stored) or 'none'}); "
        f"make some: collapsebench run --method skip --dataset {example}"
    )
