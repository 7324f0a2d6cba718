"""Which stored runs a figure is drawn from: a protocol, or what a suite declares."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from collapsebench.components import discovery
from collapsebench.errors import DataError, StoreError, UsageError, unknown
from collapsebench.experiment import suites
from collapsebench.metrics.codes import ARTIFACT, Codes
from collapsebench.reporting.leaderboard.scoring import labelled
from collapsebench.reporting.suite_boards import Asked as AskedSuite
from collapsebench.reporting.suite_boards import command_of, labels, stored_protocol
from collapsebench.syntax import parse_composition, print_composition

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog
    from collapsebench.experiment.suites import Cell
    from collapsebench.observation import Observation
    from collapsebench.store import Store


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
    if asked.suite is None:
        protocol = stored_id(store, asked)
        found = list(store.observations(protocol=protocol, trajectories=trajectories, entries=entries))
        return Selected(protocol, _title(found), only(found, asked.contenders))
    name, protocol, contenders = _of_suite(store, asked, asked.suite)
    of_protocol = store.observations(protocol=protocol, trajectories=trajectories, entries=entries)
    found = [run for run in of_protocol if run.contender in contenders]
    title = " · ".join([asked.suite.suite, asked.suite.scale, *asked.suite.variants, name, f"protocol {protocol}"])
    return Selected(protocol, title, only(found, asked.contenders))


def kept_codes(store: Store, selected: Selected, seed: int | None) -> tuple[int, dict[str, Codes]]:
    """The codes of one seed by contender, the baseline first; of the first seed that all have, if none is named.

    Contenders without codes in any run, as those without a latent variable, are left out. Raises StoreError if no run
    of the seed has codes, and DataError if the dataset has no labels or a file is gone.
    """
    found: dict[str, dict[int, Path]] = {}
    for label, runs in labelled(selected.runs).items():
        files = {run.seed: path for run in runs if (path := _codes_file(store, run.run_id)) is not None}
        if files and (seed is None or seed in files):
            found[label] = files
    shared = set.intersection(*map(set, found.values())) if found else set[int]()
    if not shared:
        raise _no_codes(selected, seed)
    number = min(shared) if seed is None else seed
    codes = {label: Codes.read(files[number]) for label, files in found.items()}
    if any(each.labels is None for each in codes.values()):
        dataset = selected.runs[0].protocol.dataset.name
        raise DataError(f"dataset '{dataset}' has no labels to colour codes by; take one that has, as mnist or digits")
    return number, codes


def _codes_file(store: Store, run_id: str) -> Path | None:
    return next((Path(each.location) for each in store.artifacts(run_id) if each.name == ARTIFACT), None)


def _no_codes(selected: Selected, seed: int | None) -> StoreError:
    which = "all contenders have kept for one seed" if seed is None else f"runs of seed {seed} have kept"
    runs = [run.run_id for run in selected.runs if run.outcome.settled and seed in {None, run.seed}]
    return StoreError(
        f"protocol {selected.protocol_id} has no codes that {which}; to make them: "
        f"collapsebench runs delete {' '.join(runs)}, and run them again with --keep-codes"
    )


def only(runs: Sequence[Observation], contenders: Collection[str]) -> Sequence[Observation]:
    """The runs of these contenders, all if none is named. Raises UsageError for one that has no run."""
    known = {run.contender for run in runs}
    for contender in contenders:
        if contender not in known:
            raise UsageError(unknown("contender", contender, known))
    return [run for run in runs if not contenders or run.contender in contenders]


def stored_cells(store: Store, asked: Asked, suite: AskedSuite) -> list[StoredCell]:
    """The cells of a suite, of one dataset if it is named. Raises StoreError if nothing of them has run."""
    components = discovery.load(suite.plugins)
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


def _of_suite(store: Store, asked: Asked, suite: AskedSuite) -> tuple[str, str, Collection[str]]:
    """The name of the one cell that has run, its protocol and its contenders."""
    found = [(cell.cell.name, cell.protocol_id, cell.labels) for cell in stored_cells(store, asked, suite)]
    ran = [(name, protocol, of_cell) for name, protocol, of_cell in found if protocol is not None]
    if len(ran) > 1:
        names = ", ".join(f"'{name}'" for name, _, _ in ran)
        raise UsageError(f"this figure is of one protocol; choose one with --cell: {names}")
    return ran[0]


def stored_id(store: Store, asked: Asked) -> str:
    """The one protocol that is meant, without a suite. Raises StoreError or UsageError."""
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
    track = protocol.track_label.replace(",", ", ")  # which can be long, and is broken into lines at spaces
    return f"{protocol.dataset.name} · {track} · {protocol.budget} · protocol {runs[0].protocol_id}"


def _refuse(option: str, others: Collection[str], given: Mapping[str, Any]) -> None:
    found = [f"--{other}" for other in others if given[other] is not None]
    if found:
        raise UsageError(f"--{option} does not go with {', '.join(found)}")
