"""Deletion of runs with all that belongs to them: their rows, and the files that they left beside the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from collapsebench.errors import CollapsebenchError
from collapsebench.observation import Unreadable
from collapsebench.record import RunRecord
from collapsebench.store import connection
from collapsebench.store.rows import is_id
from collapsebench.store.store import Store

FOLDERS = ("codes", "weights", "checkpoints", "records", "jobs/runs", "jobs/logs")
"""The folders beside a store whose files belong to runs."""

Confirm: TypeAlias = Callable[[Sequence[RunRecord | Unreadable]], None]
"""Is told of the runs before anything is deleted, and may raise an error to keep them all."""


def delete_runs(
    store: str | Path, run_ids: Iterable[str], confirm: Confirm | None = None, work_folder: Path | None = None
) -> int:
    """Delete runs from a store, by their ids or the first digits, with all of their files; return how many.

    Their files lie beside the store or in `work_folder`. A run need not be readable. An id that is none, as a store
    from somebody else may have, must be given in full; no file belongs to it. Raises UsageError if an id means no
    run or several, and then deletes nothing. Raises CollapsebenchError for a file that cannot be deleted; the rows
    of all runs are gone by then.
    """
    with Store.open(store, create=False) as opened:
        ids = [each if opened.has(each) else opened.resolve(each) for each in run_ids]
        runs = {each: opened.look(each) for each in ids}
        if confirm is not None:
            confirm(list(runs.values()))
        deleted = opened.delete(runs)
    _remove_files(store, runs, work_folder)
    return deleted


def delete_unreadable(store: str | Path, confirm: Confirm | None = None, work_folder: Path | None = None) -> int:
    """Delete all runs of a store that cannot be read, with all of their files, and return how many."""
    with Store.open(store, create=False) as opened:
        for _ in opened.find():
            pass
        if confirm is not None and opened.unreadable:
            confirm(opened.unreadable)
        ids = [run.run_id for run in opened.unreadable if is_id(run.run_id)]
        deleted = opened.delete(ids) + opened.delete_without_id()
    _remove_files(store, ids, work_folder)
    return deleted


def _remove_files(store: str | Path, run_ids: Iterable[str], work_folder: Path | None) -> None:
    for path in _files(store, run_ids, work_folder):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise CollapsebenchError(f"cannot delete '{path}': {error.strerror}") from error


def _files(store: str | Path, run_ids: Iterable[str], work_folder: Path | None) -> Iterator[Path]:
    """Yield the files that runs have left in the folders of their store. A folder that is a link is not followed."""
    folders = list(_folders(store, work_folder))
    for run_id in filter(is_id, run_ids):
        for folder in folders:
            yield from folder.glob(f"{run_id}.*")


def _folders(store: str | Path, work_folder: Path | None) -> Iterator[Path]:
    url = connection.store_url(str(store))
    for name in FOLDERS:
        what, *below = name.split("/")
        top = connection.companion(url, what) if work_folder is None else work_folder / what
        folder = top.joinpath(*below)
        if not (top.is_symlink() or folder.is_symlink()):
            yield folder
