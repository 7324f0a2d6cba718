"""Deletion of runs with all that belongs to them: their rows, and the files that they left beside the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from collapsebench.errors import CollapsebenchError
from collapsebench.record import RunRecord
from collapsebench.store import connection
from collapsebench.store.store import Store

FOLDERS = ("codes", "checkpoints")
"""The folders beside a store whose files belong to runs."""


def delete_runs(
    store: str | Path, run_ids: Iterable[str], confirm: Callable[[Sequence[RunRecord]], None] | None = None
) -> int:
    """Delete runs from a store, by their ids or the first digits, with their codes and checkpoints; return how many.

    `confirm` is told of the runs before anything is deleted, and may raise an error to keep them all. Raises UsageError
    if an id means no run or several, and then deletes nothing. Raises CollapsebenchError for a file that cannot be
    deleted; the rows of all runs are gone by then.
    """
    with Store.open(store, create=False) as opened:
        records = {record.run_id: record for record in map(opened.get, run_ids)}
        if confirm is not None:
            confirm(list(records.values()))
        deleted = opened.delete(records)
    for path in _files(store, records):
        _remove(path)
    return deleted


def _files(store: str | Path, run_ids: Iterable[str]) -> list[Path]:
    """Find the files that runs have left beside their store."""
    url = connection.store_url(str(store))
    folders = [connection.companion(url, what) for what in FOLDERS]
    return [path for run_id in run_ids for folder in folders for path in folder.glob(f"{run_id}.*")]


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise CollapsebenchError(f"cannot delete '{path}': {error.strerror}") from error
