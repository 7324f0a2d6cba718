"""Samples for the report: what the kept weights of one run of each contender make. Torch is imported for them alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from collapsebench.errors import UsageError

if TYPE_CHECKING:
    from collapsebench.reporting.leaderboard import Board
    from collapsebench.reporting.leaderboard.scoring import Row
    from collapsebench.reporting.samples import Samples


@dataclass(frozen=True)
class SampleRequest:
    """How many reconstructions of a contender are shown, and where weights and data are."""

    number: int
    store: str
    plugins: tuple[Path, ...] = ()
    data_folder: Path | None = None
    work_folder: Path | None = None


def reconstructions(request: SampleRequest, boards: Iterable[Board]) -> Iterator[Samples]:
    """Yield the reconstructions of the first test examples, of the first run of each contender that kept its weights.

    Raises UsageError if no run of the boards has kept them, and DataError if the data are not there.
    """
    from collapsebench.experiment.trained import stored_models
    from collapsebench.reporting.looking import Reconstructions, look

    run_ids = [run_id for board in boards for row in board.rows for run_id in _finished(row)[:1]]
    models = stored_models(request.store, run_ids, request.plugins, request.data_folder, request.work_folder)
    kept = [model for model in models if model.files.present]
    if not kept:
        raise UsageError("--samples: no finished run of these boards has kept its weights, or --work-dir is needed")
    for model in kept:
        yield look(model, Reconstructions(request.number))


def _finished(row: Row) -> list[str]:
    """Return the ids of the finished runs of a row, by seed."""
    without = {problem.seed for problem in row.problems}
    return [run_id for seed, run_id in sorted(row.runs.items()) if seed not in without]
