"""Finds original files, and checks that they are the originals."""

from __future__ import annotations

import gzip
import hashlib
import io
import shlex
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from platformdirs import user_cache_path

from collapsebench.components.interfaces import Dataset
from collapsebench.errors import DataError, UsageError
from collapsebench.facts import Checked, DatasetFacts, FileFacts, dataset_facts, dataset_names, embedded_datasets

ROOM = 64 << 20
"""Every packed file may unpack to this number of bytes."""
GROWTH = 100
"""A larger content may be this many times as large as the packed file. The texts and images here stay below 40."""


def cache_folder() -> Path | None:
    """Return the cache folder of the user; None for a user who has no home."""
    try:
        folder = user_cache_path("collapsebench")
    except RuntimeError:
        return None
    return folder if folder.is_absolute() else None  # old platformdirs leave `~` as it is


def data_folder(chosen: Path | None) -> Path:
    """Return the folder of original files: the chosen one, or the one in the user's cache directory.

    A leading `~` means the user's home. A user who has no home gets the folder `collapsebench-data` where he works.
    Raises UsageError for what is no folder.
    """
    if chosen is None:
        return _default_folder()
    try:
        folder = chosen.expanduser()
        is_folder = stat.S_ISDIR(folder.stat().st_mode)
    except FileNotFoundError:
        return folder
    except RuntimeError:
        raise UsageError(f"data folder '{chosen}': there is no such home") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"data folder '{chosen!s:.80}': {getattr(error, 'strerror', error)}") from None
    if not is_folder:
        raise UsageError(f"data folder '{folder}' is not a folder")
    return folder


def _default_folder() -> Path:
    cache = cache_folder()
    return Path("collapsebench-data") if cache is None else cache / "data"


def find(facts: DatasetFacts, file: Checked, folder: Path) -> Path | None:
    """Return the path of the file, plain or gzipped, in `folder/<dataset's folder>` or in `folder`; None if missing.

    Raises DataError if a folder cannot be looked into.
    """
    places = (folder / facts.folder, folder)
    paths = (place / (file.name + ending) for place in places for ending in ("", ".gz"))
    try:
        return next((path for path in paths if path.is_file()), None)
    except OSError as error:
        raise DataError(f"cannot look for '{file.name}' in '{folder}': {error.strerror}") from None


def available(facts: DatasetFacts, folder: Path) -> bool:
    """Return True if every file that the dataset always needs is there. The content is not checked."""
    return all(find(facts, file, folder) for file in facts.files if not file.optional)


def by_hand(facts: DatasetFacts, folder: Path) -> tuple[str, ...]:
    """Return the names of the files that are missing and always needed, and of which no address is known."""
    missing = (file for file in facts.files if not (file.optional or facts.fetchable(file)))
    return tuple(file.name for file in missing if find(facts, file, folder) is None)


class Original(NamedTuple):
    """One original file: its uncompressed content, and the checksum of this content, as `sha256:…`."""

    content: bytes
    checksum: str


def read(facts: DatasetFacts, name: str, folder: Path) -> Original:
    """Read one original file and check it.

    Raises DataError if the file is missing, empty, truncated or not the original. The error for a missing file says
    its address and the place where it should be.
    """
    file = facts.file(name)
    path = find(facts, file, folder)
    if path is None:
        raise DataError(_missing(facts, file, folder))
    content = uncompressed(path)
    return Original(content, check(file, content, path))


def _missing(facts: DatasetFacts, file: FileFacts, folder: Path) -> str:
    """Write the line for a missing file: the command that gets it, or where a person can get it."""
    get = facts.card.source or "its source is not known"
    if facts.fetchable(file):
        get = f"get it with '{fetch_command(facts.name, folder)}', or run with --fetch"
    return (
        f"dataset '{facts.name}' needs the file '{file.name}' (plain or .gz) in '{folder / facts.folder}': {get}; "
        f"the datasets {', '.join(embedded_datasets())} need no files"
    )


def fetch_command(name: str, folder: Path) -> str:
    """Return the command that fetches a dataset into a data folder."""
    plugin = [] if name in dataset_names() else ["--plugin", "FILE"]
    return f"collapsebench data fetch {shlex.join([name, *plugin, *_place(folder)])}"


def run_command(name: str, folder: Path) -> str:
    """Return the command that runs the baseline on a dataset of a data folder."""
    return f"collapsebench run --dataset {shlex.join([name, *_place(folder)])}"


def _place(folder: Path) -> list[str]:
    """Return the option that names a data folder; none for the default."""
    return [] if folder == _default_folder() else ["--data-dir", str(folder)]


def uncompressed(path: Path) -> bytes:
    """Return the content of a plain or gzipped file. Raises DataError if it is unreadable, truncated or empty."""
    try:
        content = path.read_bytes()
        # The first bytes decide, not the name: browsers and servers unpack files without renaming them.
        content = _gunzipped(content, path) if content.startswith(b"\x1f\x8b") else content
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"data file '{path}' is truncated or damaged gzip: {error}") from None
    except OSError as error:
        raise DataError(f"cannot read data file '{path}': {error.strerror}") from None
    if not content:
        raise DataError(f"data file '{path}' is empty")
    return content


def _gunzipped(packed: bytes, path: Path) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        content = file.read(largest(len(packed)) + 1)
    if len(content) > largest(len(packed)):
        raise DataError(bomb(f"data file '{path}'", len(packed)))
    return content


def largest(packed: int) -> int:
    """Return how many bytes a packed file of so many bytes may unpack to."""
    return max(ROOM, GROWTH * packed)


def bomb(what: str, packed: int) -> str:
    """Write the line for a packed file that unpacks to more than that."""
    return f"{what} unpacks from {packed:,} to more than {largest(packed):,} bytes: a decompression bomb"


def _git_blob(content: bytes) -> str:
    header = f"blob {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


def _arrays(content: bytes) -> str:
    """Return the SHA-256 of names, types, shapes and values of the arrays of a numpy archive, sorted by name."""
    from collapsebench.data.images import read_npz

    digest = hashlib.sha256()
    for name, array in sorted(read_npz("archive", content).items()):
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


CHECKSUMS: dict[str, Callable[[bytes], str]] = {
    "arrays": _arrays,
    "sha256": lambda content: hashlib.sha256(content).hexdigest(),
    "git_blob": _git_blob,
    "md5": lambda content: hashlib.md5(content, usedforsecurity=False).hexdigest(),
}
"""The checksum of a content, by field of FileFacts; the strongest is first."""


def known_checksum(file: Checked) -> tuple[str, str] | None:
    """Return the strongest checksum that is known of a file, as its kind and digits; None if there is none."""
    known = file.model_dump(include=set(CHECKSUMS), exclude_none=True)
    return next(((kind, known[kind]) for kind in CHECKSUMS if kind in known), None)


def check(file: Checked, content: bytes, path: Path) -> str:
    """Return the strongest checksum that is known of the file, or SHA-256 if none is known, as `sha256:…`.

    Raises DataError unless it is the checksum of the content, and the size is that of the content.
    """
    if file.size not in {None, len(content)}:
        raise DataError(f"data file '{path}' is not the original: expected {file.size} bytes, got {len(content)}")
    kind, expected = known_checksum(file) or ("sha256", None)
    got = CHECKSUMS[kind](content)
    if expected not in {None, got}:
        raise DataError(f"data file '{path}' is not the original: expected {kind} {expected}, got {got}")
    return f"{kind}:{got}"


class FileCheck(NamedTuple):
    """The check of one original file that is there."""

    file: FileFacts
    path: Path
    checksum: str
    """What is known of the content: its checksum, as `sha256:…`; empty if the file is not right."""
    error: DataError | None
    """What is wrong with it."""


def verify(facts: DatasetFacts, folder: Path) -> Iterator[FileCheck]:
    """Check the files of the dataset that are there."""
    for file in facts.files:
        path = find(facts, file, folder)
        if path is None:
            continue
        try:
            yield FileCheck(file, path, check(file, uncompressed(path), path), None)
        except DataError as error:
            yield FileCheck(file, path, "", error)


def facts_of(dataset: Dataset | type[Dataset]) -> DatasetFacts:
    """Return the facts that a dataset declares, under the dataset's name. Raises UsageError."""
    return dataset_facts(dataset.facts or dataset.name).model_copy(update={"name": dataset.name})
