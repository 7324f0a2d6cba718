"""Which stored runs a figure is drawn from: a protocol, or what a suite declares."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from collapsebench import catalog, suites
from collapsebench.cli.comparison import Asked as AskedSuite
from collapsebench.cli.comparison import command_of, labels, stored_protocol
from collapsebench.errors import StoreError, UsageError, unknown
from collapsebench.syntax import parse_composition, print_composition

if TYPE_CHECKING:
    from collapsebench.catalog import Catalog
    from collapsebench.record import Observation
    from collapsebench.store import Store
    from collapsebench.suites import Cell


class Asked(NamedTuple):
    """The runs that a user asks for."""

    dataset: str | None
    track: str | None
    protocol: str | None
    contenders: tuple[str, ...]
    """Their canonical labels; all if there is none."""
    suite: AskedSuite | None
    cells: tuple[str, ...]

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """What the options say. Raises UsageError if neither a dataset nor a protocol nor a suite is given."""
        named = tuple(print_composition(parse_composition(text)) for text in given["contenders"])
        suite = None
        if given["suite"] is not None:
            _refuse("suite", ("track", "protocol"), given)
            suite = AskedSuite(given["suite"], given["scale"], given["variants"], given["plugins"])
        elif given["cells"]:
            raise UsageError("--cell is of a suite: give --suite")
        elif given["dataset"] is None and given["protocol"] is None:
            raise UsageError("nothing to draw: give --dataset, --protocol or --suite")
        return cls(given["dataset"], given["track"], given["protocol"], named, suite, given["cells"])


class Selected(NamedTuple):
    """The runs of one protocol."""

    protocol_id: str
    title: str
    runs: Sequence[Observation]


class StoredCell(NamedTuple):
    """A cell of a suite with the protocol of its runs and the labels of its contenders."""

    cell: Cell
    protocol_id: str | None
    labels: Collection[str]


def one_protocol(store: Store, asked: Asked, *, trajectories: bool = False, entries: Collection[str] = ()) -> Selected:
    """The runs of the one protocol that is meant.

    Raises StoreError if there are none, and UsageError if there are several protocols.
    """
    protocol, wanted = _of_suite(store, asked, asked.suite) if asked.suite else (_of_store(store, asked), ())
    found = list(store.observations(protocol=protocol, trajectories=trajectories, entries=entries))
    found = [run for run in found if not wanted or run.contender in wanted]
    runs = only(found, asked.contenders)
    return Selected(protocol, _title(runs), runs)


def only(runs: Sequence[Observation], contenders: Collection[str]) -> Sequence[Observation]:
    """The runs of these contenders, all if none is named. Raises UsageError for one that has no run."""
    known = {run.contender for run in runs}
    for contender in contenders:
        if contender not in known:
            raise UsageError(unknown("contender", contender, known))
    return [run for run in runs if not contenders or run.contender in contenders]


def stored_cells(store: Store, asked: Asked, suite: AskedSuite) -> list[StoredCell]:
    """The cells of a suite, of one dataset if it is named. Raises StoreError if nothing of them has run."""
    components = catalog.load(suite.plugins)
    cells = [_stored(cell, store, components) for cell in suite_cells(asked, suite)]
    if all(cell.protocol_id is None for cell in cells):
        raise StoreError(f"nothing of the suite has run; to run it: {command_of(suite)}")
    return cells


def suite_cells(asked: Asked, suite: AskedSuite) -> list[Cell]:
    """The cells that are asked for. Raises UsageError for names that do not exist."""
    cells = suites.suite(suite.suite).cells(suite.scale, suite.variants, asked.cells)
    datasets = dict.fromkeys(cell.dataset for cell in cells)
    if asked.dataset is not None and asked.dataset not in datasets:
        raise UsageError(f"suite '{suite.suite}': {unknown('dataset', asked.dataset, datasets)}")
    return [cell for cell in cells if asked.dataset in {None, cell.dataset}]


def _stored(cell: Cell, store: Store, components: Catalog) -> StoredCell:
    return StoredCell(cell, stored_protocol(cell, store, components), labels(cell, components).values())


def _of_suite(store: Store, asked: Asked, suite: AskedSuite) -> tuple[str, Collection[str]]:
    """The protocol of the one cell that has run, and the contenders of that cell."""
    found = [(cell.cell.name, cell.protocol_id, cell.labels) for cell in stored_cells(store, asked, suite)]
    ran = [(name, protocol, of_cell) for name, protocol, of_cell in found if protocol is not None]
    if len(ran) > 1:
        names = ", ".join(f"'{name}'" for name, _, _ in ran)
        raise UsageError(f"this figure is of one protocol; choose one with --cell: {names}")
    return ran[0][1:]


def _of_store(store: Store, asked: Asked) -> str:
    found = store.protocols(dataset=asked.dataset, track=asked.track, protocol=asked.protocol)
    if not found:
        wanted = asked.dataset or asked.protocol
        raise StoreError(f"no such runs of '{wanted}'; `collapsebench runs list` shows what there is")
    if len(found) > 1:
        listed = ", ".join(f"{protocol.protocol_id} ({protocol.track}, {protocol.runs} runs)" for protocol in found)
        raise UsageError(f"runs of different protocols do not compare; choose one with --protocol: {listed}")
    return found[0].protocol_id


def _title(runs: Sequence[Observation]) -> str:
    protocol = min(runs, key=lambda run: (len(run.track), run.track)).protocol
    return f"{protocol.dataset.name} · {protocol.track_label} · {protocol.budget} · protocol {runs[0].protocol_id}"


def _refuse(option: str, others: Collection[str], given: Mapping[str, Any]) -> None:
    found = [f"--{other}" for other in others if given[other] is not None]
    if found:
        raise UsageError(f"--{option} does not go with {', '.join(found)}")
