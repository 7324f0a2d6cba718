"""Checks of datasets: whether the files that are here, and the splits made of them, have the checksums of the cards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from collapsebench.data.files import FileCheck, available, known_checksum, verify
from collapsebench.data.located import LocatedDataset, find_datasets
from collapsebench.errors import DataError


class DatasetCheck(NamedTuple):
    """One check of a dataset."""

    dataset: str
    what: str
    """The name of a file, or `splits`."""
    result: str
    """The result in words."""
    right: bool | None
    """None if nothing is known that it could be compared with."""


def check_datasets(
    names: Iterable[str] = (), plugins: Iterable[Path] = (), data_dir: Path | None = None
) -> list[DatasetCheck]:
    """Check the files of datasets that are here, and the splits made of them; without a name, of all datasets.

    What is not here is not wrong. See `find_datasets` for the arguments and errors.
    """
    return [check for located in find_datasets(names, plugins, data_dir) for check in _checks(located)]


def _checks(located: LocatedDataset) -> Iterator[DatasetCheck]:
    """Check each file that is here, and then the splits at default parameters if all files are right."""
    facts, folder = located.facts, located.folder
    files = list(verify(facts, folder))
    yield from (_check_file(facts.name, each) for each in files)
    if not available(facts, folder):
        yield DatasetCheck(facts.name, "splits", "files are missing", right=None)
    elif all(each.error is None for each in files):
        yield _check_splits(located)


def _check_file(dataset: str, found: FileCheck) -> DatasetCheck:
    if found.error is not None:
        return DatasetCheck(dataset, found.file.name, str(found.error), right=False)
    if known_checksum(found.file) is None:
        unknown = f"no checksum known: {found.path} has {found.checksum.replace(':', ' ')}"
        return DatasetCheck(dataset, found.file.name, unknown, right=None)
    return DatasetCheck(dataset, found.file.name, f"right: {found.path}", right=True)


def _check_splits(located: LocatedDataset) -> DatasetCheck:
    """Compare the splits at default parameters with the card."""
    facts = located.facts
    try:
        got = type(located.dataset)().load(located.folder).hashes()
    except DataError as error:
        return DatasetCheck(facts.name, "splits", str(error), right=False)
    expected = {name: split.sha256 for name, split in facts.splits.items() if split.sha256}
    wrong = [f"{name} has sha256 {got[name]}" for name in expected if got[name] != expected[name]]
    if not expected:
        return DatasetCheck(facts.name, "splits", "no hashes known", right=None)
    return DatasetCheck(facts.name, "splits", "; ".join(wrong) or "right", right=not wrong)
