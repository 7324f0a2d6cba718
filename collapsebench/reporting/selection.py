"""Reads the stored runs that a query selects: those of a protocol, or those of a suite's cell."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.errors import DataError, StoreError, UsageError, unknown
from collapsebench.experiment import suites
from collapsebench.experiment.planning import asks_for
from collapsebench.experiment.tracks import in_file
from collapsebench.metrics.codes import ARTIFACT, Codes
from collapsebench.observation import unreadable_line
from collapsebench.reporting.leaderboard.scoring import by_contender
from collapsebench.reporting.queries import ProtocolQuery, SuiteQuery, compared_protocols
from collapsebench.spec import identity

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog
    from collapsebench.experiment.suites import Cell
    from collapsebench.experiment.trained import Models
    from collapsebench.observation import Observation
    from collapsebench.reporting.queries import Query
    from collapsebench.spec import Protocol
    from collapsebench.store import Store


class ProtocolRuns(NamedTuple):
    """Stored runs of one protocol."""

    protocol_id: str
    title: str
    runs: Sequence[Observation]


class StoredCell(NamedTuple):
    """A cell of a suite, with the protocol of its runs and the labels of its contenders."""

    cell: Cell
    protocol_id: str | None
    """The protocol of the runs; None if the cell has no runs."""
    names: Mapping[str, str]
    """The labels of its contenders, by the identity of each."""

    @property
    def labels(self) -> Collection[str]:
        """The labels of its contenders."""
        return self.names.values()


def one_protocol(
    store: Store,
    query: Query,
    contenders: Collection[str] = (),
    *,
    trajectories: bool = False,
    entries: Collection[str] = (),
) -> ProtocolRuns:
    """Read the runs of the only selected protocol. `contenders` are canonical labels; all contenders if empty.

    `trajectories` and `entries` say what is read of a run, as in `Store.observations`. Raises StoreError if there are
    no runs, and UsageError for several protocols and for a contender without runs.
    """
    if isinstance(query, SuiteQuery):
        return _of_suite(store, query, contenders, trajectories=trajectories, entries=entries)
    protocol = stored_id(store, query)
    found = list(store.observations(protocol=protocol, trajectories=trajectories, entries=entries))
    if not found:
        raise StoreError(unreadable_line(store.unreadable))
    return ProtocolRuns(protocol, _title(found), of_contenders(found, contenders))


def _of_suite(
    store: Store, query: SuiteQuery, contenders: Collection[str], *, trajectories: bool, entries: Collection[str]
) -> ProtocolRuns:
    name, protocol, names = _one_cell(store, query)
    of_protocol = store.observations(protocol=protocol, trajectories=trajectories, entries=entries)
    found = [run for run in as_written(of_protocol, names) if run.contender_id in names]
    title = " · ".join([query.suite, query.scale, *query.variants, name, f"protocol {protocol}"])
    return ProtocolRuns(protocol, title, of_contenders(found, contenders))


def _one_cell(store: Store, query: SuiteQuery) -> tuple[str, str, Mapping[str, str]]:
    """Return the name, the protocol and the contenders of the only cell that has runs."""
    cells = ((cell.cell.name, cell.protocol_id, cell.names) for cell in stored_cells(store, query))
    ran = [(name, protocol, names) for name, protocol, names in cells if protocol is not None]
    if len(ran) > 1:
        names = ", ".join(f"'{name}'" for name, _, _ in ran)
        raise UsageError(f"this figure is of one protocol; choose one with --cell: {names}")
    return ran[0]


def stored_id(store: Store, query: ProtocolQuery) -> str:
    """Return the id of the only selected protocol. Raises StoreError for no protocol, and UsageError for several."""
    found = compared_protocols(store, query)
    if not found:
        wanted = query.dataset or query.protocol
        raise StoreError(f"no such runs of '{wanted}'; `collapsebench runs list` shows what there is")
    if len(found) > 1:
        listed = ", ".join(f"{protocol.protocol_id} ({protocol.track}, {protocol.runs} runs)" for protocol in found)
        raise UsageError(f"runs of different protocols do not compare; choose one with --protocol: {listed}")
    return found[0].protocol_id


def _title(runs: Sequence[Observation]) -> str:
    protocol = min(runs, key=lambda run: (len(run.track), run.track)).protocol
    track = protocol.track_label.replace(",", ", ")  # it can be long, and breaks into lines at spaces
    return f"{protocol.dataset.name} · {track} · {protocol.budget} · protocol {runs[0].protocol_id}"


def of_contenders(runs: Sequence[Observation], contenders: Collection[str]) -> Sequence[Observation]:
    """Return the runs of these contenders; all runs if empty. Raises UsageError for a contender without runs."""
    labels_of_runs = {run.contender for run in runs}
    for contender in contenders:
        if contender not in labels_of_runs:
            raise UsageError(unknown("contender", contender, labels_of_runs))
    return [run for run in runs if not contenders or run.contender in contenders]


def declared_cells(query: SuiteQuery) -> tuple[Cell, ...]:
    """Return the selected cells, as the suite declares them. Raises UsageError for a name that does not exist."""
    cells = suites.suite(query.suite).cells(query.scale, query.variants, query.cells)
    datasets = dict.fromkeys(cell.dataset for cell in cells)
    if query.dataset is not None and query.dataset not in datasets:
        raise UsageError(f"suite '{query.suite}': {unknown('dataset', query.dataset, datasets)}")
    return tuple(cell for cell in cells if query.dataset in {None, cell.dataset})


def stored_cells(store: Store, query: SuiteQuery) -> list[StoredCell]:
    """Return the selected cells with their stored protocols. Raises StoreError if no cell has runs."""
    components = suites.suite(query.suite).catalog(query.plugins)
    cells = [
        StoredCell(cell, stored_protocol(store, cell, components), names_of(cell, components))
        for cell in declared_cells(query)
    ]
    if all(cell.protocol_id is None for cell in cells):
        raise nothing_ran(query)
    return cells


def nothing_ran(query: SuiteQuery) -> StoreError:
    """Return the error for a suite without runs."""
    return StoreError(f"nothing of the suite has run; to run it: {query.command}")


def stored_protocol(store: Store, cell: Cell, components: Catalog) -> str | None:
    """Return the id of a cell's protocol, of the newest version that has runs; None if the cell has none.

    Of several that differ in their data alone, as those of somebody else do, it is the one with the most runs.
    """
    request = cell.request(())
    track = None if in_file(cell.track) else cell.track  # its content counts, and stores have it by any name
    runs = {each.protocol_id: each.runs for each in compared_protocols(store, ProtocolQuery(cell.dataset, track))}
    stored = [protocol for each in runs if (protocol := protocol_of(store, each)) is not None]
    asked = [protocol for protocol in stored if asks_for(request, protocol, components)]
    best = max(asked, key=lambda protocol: (protocol.version_numbers, runs[protocol.protocol_id]), default=None)
    return None if best is None else best.protocol_id


def protocol_of(store: Store, protocol_id: str) -> Protocol | None:
    """Return a stored protocol; None if none of its runs can be read."""
    first = next(store.observations(protocol=protocol_id), None)
    return first and first.protocol


def labels(cell: Cell, components: Catalog) -> dict[str, str]:
    """Return the labels of a cell's rows, by the names of its models in the published table."""
    return {model: components.contender(text)[0].label for model, text in cell.contenders.items()}


def names_of(cell: Cell, components: Catalog) -> dict[str, str]:
    """Return the labels of a cell's contenders, by the identity of each."""
    own = (components.contender(text)[0] for text in cell.contenders.values())
    return {identity(contender): contender.label for contender in own}


def as_written(runs: Iterable[Observation], names: Mapping[str, str]) -> Iterator[Observation]:
    """Yield the runs with these labels of their contenders, whatever the sweeps that made them called these."""
    return (run._replace(contender=names.get(run.contender_id, run.contender)) for run in runs)


def kept_codes(store: Store, selected: ProtocolRuns, seed: int | None, models: Models) -> tuple[int, dict[str, Codes]]:
    """Return the seed whose codes are shown, and its codes by contender, the baseline first.

    Runs that have kept no codes have them computed again from their weights. Without a seed, it is a seed for which all
    contenders have codes, the first of those for which the fewest are computed. Contenders without codes in any run are
    left out. Raises StoreError if no run of the seed has codes, and DataError if the dataset has no labels or a file is
    gone.
    """
    found: dict[str, dict[int, _CodesOfRun]] = {}
    for label, runs in by_contender(selected.runs).items():
        every = {run.seed: _codes_of(store, run.run_id, models) for run in runs}
        own = {number: each for number, each in every.items() if each.are_there}
        if own and (seed is None or seed in own):
            found[label] = own
    shared = set.intersection(*map(set, found.values())) if found else set[int]()
    if not shared:
        raise _no_codes(selected, seed)
    cost = {number: sum(own[number].file is None for own in found.values()) for number in shared}
    number = min(shared, key=lambda each: (cost[each], each)) if seed is None else seed
    codes = {label: own[number].read(store, models) for label, own in found.items()}
    if any(each.labels is None for each in codes.values()):
        dataset = selected.runs[0].protocol.dataset.name
        raise DataError(f"dataset '{dataset}' has no labels to colour codes by; take one that has, as mnist or digits")
    return number, codes


class _CodesOfRun(NamedTuple):
    """Where the codes of one run come from."""

    run_id: str
    file: Path | None
    """The file of its codes, None if it has kept none."""
    has_weights: bool

    @property
    def are_there(self) -> bool:
        return self.file is not None or self.has_weights

    def read(self, store: Store, models: Models) -> Codes:
        """Read the codes, or compute them. The latter imports torch."""
        if self.file is not None:
            return Codes.read(self.file)
        return Codes.of(models.of(store.get(self.run_id)).test_split)


def _codes_of(store: Store, run_id: str, models: Models) -> _CodesOfRun:
    file = store.artifact_file(run_id, ARTIFACT, models.work_folder)
    return _CodesOfRun(run_id, file, file is None and bool(models.files(run_id).present))


def _no_codes(selected: ProtocolRuns, seed: int | None) -> StoreError:
    which = "all contenders have kept for one seed" if seed is None else f"runs of seed {seed} have kept"
    return StoreError(
        f"protocol {selected.protocol_id} has no codes or weights that {which}; to make them beside these runs: the "
        f"command below `collapsebench leaderboard --protocol {selected.protocol_id}`, "
        "with --keep-codes --store codes.sqlite"
    )
