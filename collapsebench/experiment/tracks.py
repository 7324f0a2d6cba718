"""Finds the track that a user means: one of the dataset, by name, or one in a file of the user."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from collapsebench.components.catalog import Catalog
from collapsebench.components.interfaces import Dataset
from collapsebench.errors import UsageError, unknown
from collapsebench.experiment.overrides import overridden
from collapsebench.facts import dataset_facts, read_table
from collapsebench.files import expanded
from collapsebench.spec import FILE_TRACK
from collapsebench.syntax import NAME, ParameterValue


class TrackLabel(NamedTuple):
    """What names a track in a protocol. The fields are those of `Protocol`."""

    track: str
    overrides: dict[str, ParameterValue]
    file_name: str = ""


def chosen_track(
    dataset: str, track: str, settings: Iterable[str], catalog: Catalog
) -> tuple[dict[str, Any], TrackLabel]:
    """Return the table of a track with its settings replaced, and what names it.

    `track` is the name of one of the dataset, or a TOML file (`mine.toml`) with the entries of a table [tracks.NAME];
    its name is then that of the file. Raises UsageError for a track that does not exist, and for a file that cannot be
    read or whose name cannot be that of another track.
    """
    component = catalog.entry("dataset", dataset).component
    facts_file = component.facts if issubclass(component, Dataset) else None
    tracks = dataset_facts(facts_file or dataset).tracks
    if in_file(track):
        path = expanded(track)
        _check_name(path, dataset, tracks)
        table, changed = overridden(_table(path), settings)
        return table, TrackLabel(FILE_TRACK, changed, path.stem)
    if track not in tracks:
        raise UsageError(f"dataset '{dataset}': {unknown('track', track, tracks)} (or a file, as in mine.toml)")
    table, changed = overridden(tracks[track], settings)
    return table, TrackLabel(track, changed)


def in_file(track: str) -> bool:
    """Return whether a track is one in a file of a user."""
    return track.endswith(".toml")


def _check_name(path: Path, dataset: str, tracks: Collection[str]) -> None:
    if NAME.fullmatch(path.stem) is None:
        raise UsageError(f"track file '{path}': it needs a name of small letters, digits and dashes, as in mine.toml")
    if path.stem in tracks:
        raise UsageError(f"track file '{path}': dataset '{dataset}' has a track '{path.stem}': give it another name")


def _table(path: Path) -> dict[str, Any]:
    table = read_table(path, "track")
    if "tracks" in table:
        raise UsageError(f"track file '{path}': write the entries of [tracks.NAME] alone, without this head")
    return table
