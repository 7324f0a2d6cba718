"""Weights on their way between machines: copies of the files of stored runs, beside the JSON lines of their records."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from collapsebench.errors import CollapsebenchError
from collapsebench.experiment.weights import WEIGHTS, WeightFiles
from collapsebench.experiment.work import folder_of
from collapsebench.files import expanded, replacing
from collapsebench.observation import RUN_ID
from collapsebench.store import Store


def export_weights(store: str, run_ids: Iterable[str], folder: Path, work_folder: Path | None = None) -> int:
    """Copy the weights of runs from beside their store, or from `work_folder`, to a folder.

    Return how many of them have weights. Raises CollapsebenchError for a file that cannot be read or written.
    """
    return _copied(run_ids, folder_of(WEIGHTS, store, work_folder), expanded(folder))


def import_weights(store: str, folder: Path, work_folder: Path | None = None) -> int:
    """Copy the weights of those runs that a store has from a folder to beside the store, or to `work_folder`.

    Return how many there are. Nothing of them is loaded. Raises CollapsebenchError if there is no such folder, or for a
    file that cannot be read or written.
    """
    source = expanded(folder)
    if not source.is_dir():
        raise CollapsebenchError(f"cannot read weights from '{folder}': there is no such folder")
    ids = sorted(path.stem for path in source.glob("*.pt") if RUN_ID.fullmatch(path.stem))
    with Store.reading(store) as opened:
        stored = opened.outcomes(ids)
    return _copied(stored, source, folder_of(WEIGHTS, store, work_folder))


def _copied(run_ids: Iterable[str], source: Path, target: Path) -> int:
    """Copy files that are not there yet, each as a whole, and that of the parameters last."""
    found = [present for run_id in run_ids if (present := WeightFiles(source, run_id).present)]
    for path in (path for present in found for path in present):
        copy = target / path.name
        if copy.exists():
            continue
        try:
            with replacing(copy) as partial:
                partial.write_bytes(path.read_bytes())
        except OSError as error:
            raise CollapsebenchError(f"cannot copy '{path}' to '{target}': {error.strerror}") from error
    return len(found)
