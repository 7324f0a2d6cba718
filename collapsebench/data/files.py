"""Finds original files, and checks that they are the originals."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from platformdirs import user_cache_path

from collapsebench.components.interfaces import Dataset
from collapsebench.errors import DataError
from collapsebench.facts import DatasetFacts, FileFacts, dataset_facts, embedded_datasets


def data_folder(chosen: Path | None) -> Path:
    """Return the folder of original files: the chosen one, or the one in the user's cache directory."""
    return user_cache_path("collapsebench") / "data" if chosen is None else chosen


def find(facts: DatasetFacts, file: FileFacts, folder: Path) -> Path | None:
    """Return the path of the file, plain or gzipped, in `folder/<dataset's folder>` or in `folder`; None if missing."""
    places = (folder / facts.folder, folder)
    paths = (place / (file.name + ending) for place in places for ending in ("", ".gz"))
    return next((path for path in paths if path.is_file()), None)


def available(facts: DatasetFacts, folder: Path) -> bool:
    """Return True if every file that the dataset always needs is there. The content is not checked."""
    return all(find(facts, file, folder) for file in facts.files if not file.optional)


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
    get = f"get it with 'collapsebench data fetch {facts.name}' from {file.url}" if file.url else facts.card.source
    return (
        f"dataset '{facts.name}' needs the file '{file.name}' (plain or .gz) in '{folder / facts.folder}': "
        f"{get or 'its source is not known'}; the datasets {', '.join(embedded_datasets())} need no files"
    )


def uncompressed(path: Path) -> bytes:
    """Return the content of a plain or gzipped file. Raises DataError if it is unreadable, truncated or empty."""
    try:
        content = path.read_bytes()
        # The first bytes decide, not the name: browsers and servers unpack files without renaming them.
        content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"data file '{path}' is truncated or damaged gzip: {error}") from None
    except OSError as error:
        raise DataError(f"cannot read data file '{path}': {error.strerror}") from None
    if not content:
        raise DataError(f"data file '{path}' is empty")
    return content


def _git_blob(content: bytes) -> str:
    header = f"blob {len(content)}\0".encode()
    return hashlib.sha1(header + content, usedforsecurity=False).hexdigest()


CHECKSUMS: dict[str, Callable[[bytes], str]] = {
    "sha256": lambda content: hashlib.sha256(content).hexdigest(),
    "md5": lambda content: hashlib.md5(content, usedforsecurity=False).hexdigest(),
    "git_blob": _git_blob,
}
"""The checksum of a content, by field of FileFacts; the strongest is first."""


def known_checksum(file: FileFacts) -> tuple[str, str] | None:
    """Return the strongest checksum that is known of a file, as its kind and digits; None if there is none."""
    known = file.model_dump(include=set(CHECKSUMS), exclude_none=True)
    return next(((kind, known[kind]) for kind in CHECKSUMS if kind in known), None)


def check(file: FileFacts, content: bytes, path: Path) -> str:
    """Return the strongest checksum that is known of the file, or SHA-256 if none is known, as `sha256:…`.

    Raises DataError unless it is the checksum of the content.
    """
    kind, expected = known_checksum(file) or ("sha256", None)
    got = CHECKSUMS[kind](content)
    if expected not in {None, got}:
        raise DataError(f"data file '{path}' is not the original: expected {kind} {expected}, got {got}")
    return f"{kind}:{got}"


def verify(facts: DatasetFacts, folder: Path) -> Iterator[tuple[FileFacts, Path, DataError | None]]:
    """Check the files of the dataset that are there. Yield each file, its path, and its error or None."""
    for file in facts.files:
        path = find(facts, file, folder)
        if path is None:
            continue
        try:
            check(file, uncompressed(path), path)
        except DataError as error:
            yield file, path, error
        else:
            yield file, path, None


def facts_of(dataset: Dataset | type[Dataset]) -> DatasetFacts:
    """Return the facts that a dataset declares, under the dataset's name. Raises UsageError."""
    return dataset_facts(dataset.facts or dataset.name).model_copy(update={"name": dataset.name})
