"""A grid that is planned, as text and as JSON: its runs by protocol, and what is stored of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collapsebench.printable import printable

if TYPE_CHECKING:
    from collapsebench.experiment.grids import PlannedGrid
    from collapsebench.spec import RunSpec


def plan_text(grid: PlannedGrid) -> str:
    """Write one table for each protocol."""
    return "\n\n".join(_table(grid, specs) for specs in _by_protocol(grid))


def plan_json(grid: PlannedGrid) -> list[dict[str, Any]] | dict[str, Any]:
    """Give each protocol with its runs, or the protocol alone if the grid has only one, without a name."""
    found = [_object(grid, specs) for specs in _by_protocol(grid)]
    return found if grid.plan.protocol_names else found[0]


def _by_protocol(grid: PlannedGrid) -> list[list[RunSpec]]:
    """Return the runs of each protocol, in the order of the plan."""
    specs: dict[str, list[RunSpec]] = {}
    for spec in grid.plan.specs:
        specs.setdefault(spec.protocol.protocol_id, []).append(spec)
    return list(specs.values())


def _status(spec: RunSpec, grid: PlannedGrid) -> str:
    outcome = grid.stored.get(spec.run_id)
    if outcome is None:
        return "to run"
    return f"stored: {outcome.value}" if outcome.settled else f"to run again: {outcome.value}"


def _table(grid: PlannedGrid, specs: list[RunSpec]) -> str:
    from tabulate import tabulate

    names, protocol = grid.plan.protocol_names, specs[0].protocol
    rows = [(spec.run_id, printable(spec.contender.label), spec.seed, _status(spec, grid)) for spec in specs]
    head = [names[protocol.protocol_id]] if names else []
    head += [protocol.dataset.name, protocol.track_label, str(protocol.budget), f"protocol {protocol.protocol_id}"]
    shown = tabulate(rows, headers=("run", "contender", "seed", "status"), disable_numparse=True)
    return f"{printable(' · '.join(head))}\n{shown}"


def _object(grid: PlannedGrid, specs: list[RunSpec]) -> dict[str, Any]:
    names, protocol = grid.plan.protocol_names, specs[0].protocol
    named = {"name": names[protocol.protocol_id]} if names else {}
    runs = [
        {"run_id": spec.run_id, "contender": spec.contender.label, "seed": spec.seed, "status": _status(spec, grid)}
        for spec in specs
    ]
    return named | {"protocol_id": protocol.protocol_id, "protocol": protocol.model_dump(mode="json"), "runs": runs}
