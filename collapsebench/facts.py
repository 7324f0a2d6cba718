"""The registry holds declared facts about datasets as TOML. This module reads and validates them, without numpy."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, HttpUrl, NonNegativeInt, ValidationError, model_validator

from collapsebench.errors import UsageError, unknown
from collapsebench.spec import Frozen
from collapsebench.validation import describe

SplitName = Literal["train", "valid", "test"]
Declared = TypeVar("Declared", bound=Frozen)
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Card(Frozen):
    """The facts that a reader must know before believing a number on this dataset."""

    title: str
    kind: Literal["text", "images", "vectors"]
    description: str
    licence: str
    comparability: str
    """The published numbers with which results on it can be compared, and those with which they cannot."""
    source: str = ""
    """The place where a person can get its files."""


class Checked(Frozen):
    """What is known of a file that can be fetched: its addresses and its checksums."""

    name: str
    size: NonNegativeInt | None = None
    sha256: Sha256 | None = None
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    git_blob: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    """The output of `git hash-object`: the SHA-1 of a header with the size, and of the content."""
    url: HttpUrl | None = None
    mirrors: tuple[HttpUrl, ...] = ()
    """Further addresses. They are tried in this order after `url`."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses, in the order in which they are tried."""
        return tuple(map(str, (*([] if self.url is None else [self.url]), *self.mirrors)))


class FileFacts(Checked):
    """One original file. Its size and its checksums are of the uncompressed content."""

    arrays: Sha256 | None = None
    """For a numpy archive: the SHA-256 of its arrays, however they are packed (see `data.files.CHECKSUMS`)."""
    made_from: tuple[str, ...] = ()
    """The archives from which the dataset makes this file, as nobody offers it for download."""
    optional: bool = False
    """True if only some parameters of the dataset need it."""


class ArchiveFacts(Checked):
    """A zip or tar file (plain or .gz) that holds original files. Its size and checksums are of the file as it is."""

    holds: tuple[str, ...] = ()
    """The names of the original files in it. In which of its folders they stand does not matter."""


class SplitFacts(Frozen):
    """One split at the dataset's default parameters."""

    examples: NonNegativeInt | None = None
    sha256: Sha256 | None = None


class DatasetFacts(Frozen):
    """The facts file of one dataset."""

    name: str
    card: Card
    folder: str = ""
    """The sub-folder of the data folder for its files. They may also stand directly in the data folder."""
    files: tuple[FileFacts, ...] = ()
    archives: tuple[ArchiveFacts, ...] = ()
    """Where original files can be had, too: they are tried after a file's own addresses."""
    splits: dict[SplitName, SplitFacts] = Field(default_factory=dict)
    tracks: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """The tracks as they are written. A track is validated after overrides are applied."""
    tracks_of: str = ""
    """Another dataset of the registry whose tracks this one has, too. Its own tracks replace those of the same name."""
    tracks_of_kind: bool = False
    """True if it has the tracks that suit every dataset of its kind (`registry/tracks/`), too. Others come first."""
    labelled: bool | None = None
    """Whether the files of a dataset that `data add` made hold labels. A class of a plugin says that by itself."""

    @property
    def embedded(self) -> bool:
        """True if the dataset needs no files."""
        return not self.files

    def file(self, name: str) -> FileFacts:
        """Return one of its files by name."""
        return next(file for file in self.files if file.name == name)

    def archive(self, name: str) -> ArchiveFacts:
        """Return one of its archives by name."""
        return next(archive for archive in self.archives if archive.name == name)

    def holders(self, file: FileFacts) -> tuple[ArchiveFacts, ...]:
        """Return the archives with an address that hold a file."""
        return tuple(archive for archive in self.archives if file.name in archive.holds and archive.addresses)

    def fetchable(self, file: FileFacts) -> bool:
        """Return True if an address is known of a file, of an archive that holds it, or of all that it is made from."""
        sources = [self.archive(name) for name in file.made_from]
        made = bool(sources) and all(archive.addresses for archive in sources)
        return bool(file.addresses or self.holders(file)) or made

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        files, archives = {file.name for file in self.files}, {archive.name for archive in self.archives}
        strangers = {name for archive in self.archives for name in archive.holds} - files
        strangers |= {name for file in self.files for name in file.made_from} - archives
        if strangers:
            raise ValueError(f"'{min(strangers)}' is none of its files and archives")
        return self


class SharedTracks(Frozen):
    """The tracks of every dataset of one kind, as they are written."""

    name: str
    tracks: dict[str, dict[str, Any]]


def registry_folder() -> Path:
    """Return the folder of declared facts."""
    return shipped_folder("registry")


def shipped_folder(name: str) -> Path:
    """Return a folder of files that are no code: inside the package in a wheel, beside the package in a checkout."""
    package = Path(__file__).parent
    installed = package / f"_{name}"
    return installed if installed.is_dir() else package.parent / name


def dataset_names() -> list[str]:
    """Return the names of the datasets that have a facts file in the registry."""
    return sorted(path.stem for path in (registry_folder() / "datasets").glob("*.toml"))


def dataset_facts(source: Path | str) -> DatasetFacts:
    """Return the facts of a dataset of the registry (by name), or those in the file of a plugin (by path).

    Raises UsageError for an unknown name and for a file that is not what a facts file should be.
    """
    path = source if isinstance(source, Path) else _registered(source)
    facts = read_facts(path, DatasetFacts, "facts")
    shared = tracks_of_kind(facts.card.kind) if facts.tracks_of_kind else {}
    try:
        shared |= dataset_facts(facts.tracks_of).tracks if facts.tracks_of else {}
    except UsageError as error:
        raise UsageError(f"facts file '{path}', tracks_of: {error}") from None
    return facts.model_copy(update={"tracks": {**shared, **facts.tracks}})


def tracks_of_kind(kind: str) -> dict[str, dict[str, Any]]:
    """Return the tracks that suit every dataset of a kind, as they are written. Raises UsageError if there are none."""
    known = sorted(path.stem for path in (registry_folder() / "tracks").glob("*.toml"))
    if kind not in known:
        raise UsageError(unknown("kind of dataset with tracks", kind, known))
    return read_facts(registry_folder() / "tracks" / f"{kind}.toml", SharedTracks, "tracks").tracks


def _registered(name: str) -> Path:
    if name not in dataset_names():
        raise UsageError(unknown("dataset", name, dataset_names()))
    return registry_folder() / "datasets" / f"{name}.toml"


def embedded_datasets() -> list[str]:
    """Return the names of the datasets in the registry that need no files."""
    return [name for name in dataset_names() if dataset_facts(name).embedded]


def read_facts(
    path: Path, kind: type[Declared], what: str, name: str = "", parse_float: Callable[[str], Any] = float
) -> Declared:
    """Return the value that a TOML file declares. Its name is that of the file, unless `name` or the file says another.

    `parse_float` reads the decimals. Raises UsageError in one line for a file that cannot be read or is not valid.
    """
    table = read_table(path, what, parse_float)
    try:
        return kind.model_validate({"name": name or path.stem, **table})
    except ValidationError as error:
        raise UsageError(f"{what} file '{path}', {describe(error, kind, 'field')}") from None
    except UsageError as error:  # of a text in the file, which does not parse
        raise UsageError(f"{what} file '{path}': {error}") from None


def read_table(path: Path, what: str, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """Return what a TOML file says. Raises UsageError in one line for a file that cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"), parse_float=parse_float)
    except RecursionError:
        raise UsageError(f"cannot read the {what} file '{path}': its lists or tables are nested too deeply") from None
    except OSError as error:
        raise UsageError(f"cannot read the {what} file '{path}': {error.strerror}") from None
    except ValueError as error:  # no UTF-8, no TOML, or an integer of too many digits
        raise UsageError(f"cannot read the {what} file '{path}': {error}") from None
