"""Datasets by the names that a user writes, each with its facts and the folder of its files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.components import discovery
from collapsebench.components.interfaces import Dataset
from collapsebench.data.files import data_folder, facts_of
from collapsebench.data.own import with_own
from collapsebench.errors import UsageError
from collapsebench.spec import Choice
from collapsebench.syntax import parse_composition

if TYPE_CHECKING:
    from collapsebench.components.catalog import Catalog
    from collapsebench.facts import DatasetFacts


class LocatedDataset(NamedTuple):
    """A dataset with its facts and the folder of its files."""

    dataset: Dataset
    facts: DatasetFacts
    folder: Path
    """The folder of the original files of all datasets."""
    components: Catalog
    """The catalogue that the dataset comes from."""


def find_datasets(
    names: Iterable[str] = (), plugins: Iterable[Path] = (), data_dir: Path | None = None
) -> list[LocatedDataset]:
    """Find datasets by their names, written `name[key=value]`, or all of them if no name is given.

    `plugins` are files of plugins beside the installed ones. The datasets that were added to the data folder are there,
    too. `data_dir` is the folder of the original files; None
    stands for the user's cache folder. Raises UsageError for a name or a parameter that does not exist.
    """
    folder = data_folder(data_dir)
    components = with_own(discovery.load(plugins), folder)
    return [locate(name, components, folder) for name in tuple(names) or components.names("dataset")]


def locate(name: str, components: Catalog, folder: Path) -> LocatedDataset:
    """Find one dataset of a catalogue, written `name[key=value]`. Raises UsageError."""
    call, *others = parse_composition(name)
    if others:
        raise UsageError(f"'{name}' names several datasets: they cannot be combined")
    dataset = components.create(Dataset, Choice(name=call.name, params=call.params))
    return LocatedDataset(dataset, facts_of(dataset), folder, components)
