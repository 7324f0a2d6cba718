"""Datasets that a user added with `collapsebench data add`: each is a facts file in the data folder, and its files."""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import ClassVar

from collapsebench.components.catalog import Catalog, Entry, FailedPlugin
from collapsebench.components.hookspecs import PROJECT
from collapsebench.components.interfaces import Dataset
from collapsebench.data.pictures import Images
from collapsebench.data.texts import Text
from collapsebench.errors import PluginError, UsageError
from collapsebench.facts import dataset_facts
from collapsebench.syntax import BASELINE, NAME

OWN = "own"
"""The sub-folder of the data folder for these datasets: `own/NAME.toml`, and the folder `own/NAME` of the files."""


def facts_path(name: str, folder: Path) -> Path:
    """Return the place of the facts file of an added dataset. `folder` is the data folder."""
    return folder / OWN / f"{name}.toml"


def with_own(catalog: Catalog, folder: Path) -> Catalog:
    """Return a catalogue that has the datasets which were added to a data folder, too.

    A dataset whose facts file is not valid is listed as failed. Raises PluginError if a dataset of the catalogue has
    the name of an added one.
    """
    entries, failed = dict(catalog.entries), list(catalog.failed)
    paths = sorted((folder / OWN).glob("*.toml"))
    package = metadata.distribution(PROJECT) if paths else None
    for path in paths:
        try:
            dataset = own_dataset(path)
        except UsageError as error:
            failed.append(FailedPlugin(path.stem, str(path), str(error)))
            continue
        key = (Dataset.kind, dataset.name)
        if key in entries:
            raise PluginError(
                f"dataset '{dataset.name}' of plugin '{entries[key].plugin}' ({entries[key].origin}) has the name of "
                f"one that was added ({path}): add that under another name, and delete this file"
            )
        entries[key] = Entry(dataset, PROJECT, str(path), package)
    return replace(catalog, entries=entries, failed=tuple(failed))


def own_dataset(path: Path) -> type[Text | Images]:
    """Return the dataset that a facts file of `data add` describes. Raises UsageError if the file is not valid."""
    name, declared = path.stem, dataset_facts(path)
    if NAME.fullmatch(name) is None or name == BASELINE or declared.name != name:
        raise UsageError(
            f"facts file '{path}': it needs a name of small letters, digits and dashes, and states no other"
        )
    match declared.card.kind:
        case "text":
            return own_text(path, labelled=declared.labelled)
        case "images":
            return own_images(path, labelled=bool(declared.labelled))
    raise UsageError(f"facts file '{path}': an added dataset is text or images, not {declared.card.kind}")


def own_text(path: Path, *, labelled: bool | None) -> type[Text]:
    """Return the dataset of a text whose facts file stands at `path`."""
    has_labels = labelled

    class OwnText(Text):
        """A text that its user added."""

        name: ClassVar[str] = path.stem
        stem: ClassVar[str] = path.stem
        facts: ClassVar[Path | None] = path
        labelled: ClassVar[bool | None] = has_labels

    return OwnText


def own_images(path: Path, *, labelled: bool) -> type[Images]:
    """Return the dataset of pictures whose facts file stands at `path`."""
    has_labels = labelled

    class OwnImages(Images):
        """Pictures that their user added."""

        name: ClassVar[str] = path.stem
        stem: ClassVar[str] = path.stem
        facts: ClassVar[Path | None] = path
        labelled: ClassVar[bool] = has_labels

    return OwnImages
