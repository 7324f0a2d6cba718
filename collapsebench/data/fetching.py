"""Fetches the files of datasets. A file is checked before it gets its name, so that a bad answer leaves nothing behind.

A file is tried at each of its addresses, and then in each archive that holds it. What nobody offers is made from
archives, by the dataset.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from collapsebench.data.archives import read_files
from collapsebench.data.base import FromFiles
from collapsebench.data.downloading import Bar, Limits, UselessError, download, partial_file, remove_parts
from collapsebench.data.files import by_hand, check, find, known_checksum, uncompressed, verify
from collapsebench.data.located import LocatedDataset, find_datasets, locate
from collapsebench.errors import DataError, UsageError
from collapsebench.facts import ArchiveFacts, Checked, DatasetFacts, FileFacts
from collapsebench.files import replacing
from collapsebench.printable import printable

ROOM = 1 << 16
"""What an answer may be larger than its file, if it is packed: 64 KiB, beside a hundredth."""
PAGES = {
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"version https://git-lfs": "a pointer of Git LFS",
}
"""The first bytes of what servers send in place of a file."""

CONNECTION = re.compile(r"(HTTPS?\w+\(host=.*?port=.*?\)|<urllib3[^>]*>): ")
"""What urllib3 writes in front of the reason why there is no connection."""

if TYPE_CHECKING:
    from rich.console import Console

    from collapsebench.components.catalog import Catalog


class FetchedDataset(NamedTuple):
    """The result of fetching one dataset."""

    name: str
    files: tuple[Path, ...]
    """The new files."""
    needed: bool
    """True if the dataset needs files."""
    error: str | None = None
    """The reason why the dataset cannot be fetched; None if all is well."""

    @property
    def text(self) -> str:
        """The result in words."""
        nothing = "all files are here" if self.needed else "needs no files"
        return f"{self.name}: {', '.join(map(str, self.files)) or nothing}"


def fetch_datasets(
    names: Iterable[str], plugins: Iterable[Path], data_dir: Path | None, console: Console
) -> Iterator[FetchedDataset]:
    """Fetch what is missing of some datasets, one after the other. One that cannot be fetched does not stop the others.

    See `find_datasets` for the arguments and errors. Raises UsageError if no dataset is named.
    """
    wanted = tuple(names)
    if not wanted:
        raise UsageError("name the datasets to fetch; 'collapsebench data list' shows them")
    for located in find_datasets(wanted, plugins, data_dir):
        facts, needed = located.facts, not located.facts.embedded
        try:
            files = tuple(fetch(located, console))
        except DataError as error:
            yield FetchedDataset(facts.name, (), needed, str(error))
        else:
            yield FetchedDataset(facts.name, files, needed)


def fetch_for_runs(names: Iterable[str], components: Catalog, folder: Path) -> None:
    """Fetch what is missing of the datasets of runs, and show the progress on standard error. Raises DataError."""
    from rich.console import Console

    for name in dict.fromkeys(names):
        fetch(locate(name, components, folder), Console(stderr=True))


def fetch(located: LocatedDataset, console: Console, limits: Limits | None = None) -> list[Path]:
    """Fetch what is missing of a dataset into `folder/<dataset's folder>`, and return the paths of the new files.

    The licence is shown before. Raises DataError if a file in the folder is damaged, or if no address of a file gives
    the original, or none is known.
    """
    facts, folder = located.facts, located.folder
    for found in verify(facts, folder):
        if found.error is not None:
            raise DataError(f"{found.error}; remove it to fetch it again")
    missing = [file for file in facts.files if facts.fetchable(file) and find(facts, file, folder) is None]
    new = Fetcher(located, console, limits or Limits()).fetch(missing) if missing else []
    names = by_hand(facts, folder)
    if names:
        raise DataError(
            f"dataset '{facts.name}': no address is known of {', '.join(names)}; {facts.card.source}, "
            f"and put it (plain or .gz) into '{folder / facts.folder}'"
        )
    return new


@dataclass(frozen=True)
class Fetcher:
    """Fetches files of one dataset."""

    located: LocatedDataset
    console: Console
    limits: Limits
    archives: dict[str, bytes] = field(default_factory=dict)
    """The contents of the archives that were read, by name."""

    @property
    def facts(self) -> DatasetFacts:
        """The facts of the dataset."""
        return self.located.facts

    @property
    def folder(self) -> Path:
        """The folder of the dataset's files."""
        return self.located.folder / self.facts.folder

    def fetch(self, files: Iterable[FileFacts]) -> list[Path]:
        """Fetch some files, and return their paths. Raises DataError.

        Archives are removed in the end, but for those that the user has put there. If a file is still missing, a right
        archive stays for the next try.
        """
        self._say(f"{self.facts.name}: licence: {self.facts.card.licence}")
        before = {archive.name for archive in self.facts.archives if self._here(archive) is not None}
        added = [archive for archive in self.facts.archives if archive.name not in before]
        try:
            paths = [self._fetch_file(file) for file in files]
        except DataError:
            self._remove(archive for archive in added if known_checksum(archive) is None)
            raise
        self._remove(added)
        for path in paths:
            remove_parts(path)
        return paths

    def _fetch_file(self, file: FileFacts) -> Path:
        """Get one file from the first source that has it."""
        downloads = (partial(self._download, address, file, uncompressed) for address in file.addresses)
        extracts = (partial(self._extract, archive, file) for archive in self.facts.holders(file))
        makes = (partial(self._make, file),) if file.made_from else ()
        return self._first(*downloads, *extracts, *makes)

    def _extract(self, archive: ArchiveFacts, file: FileFacts) -> Path:
        contents = read_files(archive.name, self._archive(archive), frozenset({file.name}))
        return self._place(file, contents[file.name])

    def _make(self, file: FileFacts) -> Path:
        dataset = self.located.dataset
        if not isinstance(dataset, FromFiles):
            raise DataError(f"dataset '{dataset.name}' makes no files")
        packed = {name: self._archive(self.facts.archive(name)) for name in file.made_from}
        self._say(f"{file.name}: made from {', '.join(packed)}")
        return self._place(file, dataset.make(file.name, packed))

    def _archive(self, archive: ArchiveFacts) -> bytes:
        """Return the content of an archive, which is fetched if it is not in the data folder."""
        if archive.name not in self.archives:
            downloads = (partial(self._download, address, archive, _as_it_is) for address in archive.addresses)
            path = self._here(archive) or self._first(*downloads)
            content = _as_it_is(path)
            check(archive, content, path)
            self.archives[archive.name] = content
        return self.archives[archive.name]

    def _here(self, archive: ArchiveFacts) -> Path | None:
        return find(self.facts, archive, self.located.folder)

    def _remove(self, archives: Iterable[ArchiveFacts]) -> None:
        for archive in archives:
            with suppress(OSError):
                (self.folder / archive.name).unlink(missing_ok=True)
                remove_parts(self.folder / archive.name)

    def _place(self, file: FileFacts, content: bytes) -> Path:
        """Write a file that is right."""
        target = self.folder / file.name
        check(file, content, target)
        try:
            with replacing(target) as path:
                path.write_bytes(content)
        except OSError as error:
            raise DataError(f"cannot write '{target}': {error.strerror}") from None
        return target

    def _download(self, address: str, file: Checked, read: Callable[[Path], bytes]) -> Path:
        """Download a file. `read` gives the content that has the checksums.

        A download goes on with what a broken one left only if a checksum can tell whether the parts belong together. If
        they do not, it begins anew.
        """
        packed = address.endswith(".gz") and isinstance(file, FileFacts)
        target = self.folder / (file.name + (".gz" if packed else ""))
        key = f"{address} {known_checksum(file)}"
        try:
            with partial_file(target, key, resume=known_checksum(file) is not None) as (path, stream):
                attempt = partial(self._attempt, address, file, read, stream)
                if path.stat().st_size:
                    with suppress(DataError, UselessError):
                        return _named(attempt(path), target)
                    stream.truncate(0)
                return _named(attempt(path), target)
        except DataError as error:
            raise DataError(f"what {address} gives is not usable: {error}") from None
        except (OSError, ValueError) as error:
            raise DataError(f"cannot fetch {address} into '{self.folder}': {_reason(error)}") from None

    def _attempt(
        self, address: str, file: Checked, read: Callable[[Path], bytes], stream: BinaryIO, path: Path
    ) -> Path:
        """Download into an open file, and check what came. Raises DataError or OSError."""
        most = self.limits.bytes if file.size is None else file.size + file.size // 100 + ROOM
        with Bar(file.name, self.console) as bar:
            framed = download(address, stream, most, bar, self.limits)
        content = read(path)
        _refuse_page(content, path)
        if not (framed or file.size or known_checksum(file)):
            raise DataError("neither the server nor the facts say how long it is, or have a checksum: is it whole?")
        check(file, content, path)
        return path

    def _first(self, *attempts: Callable[[], Path]) -> Path:
        """Return the result of the first attempt that succeeds. Raises DataError, which says why each one failed."""
        errors: list[str] = []
        for attempt in attempts:
            if errors:
                self._say(f"{errors[-1]}; the next source is tried")
            try:
                return attempt()
            except DataError as error:
                errors.append(str(error))
        raise DataError("; ".join(errors))

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _named(path: Path, target: Path) -> Path:
    """Give a file that is right its name."""
    with replacing(target) as new:
        path.replace(new)
    return target


def _reason(error: Exception) -> str:
    """Why a download failed, in short.

    urllib3 tells the cause as the last of many words, behind its own objects and the address once more.
    """
    cause = getattr(error.args[0], "reason", None) if error.args else None
    text = CONNECTION.sub("", str(error if cause is None else cause))
    return f"{printable(text):.500}"


def _as_it_is(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror}") from None


def _refuse_page(content: bytes, path: Path) -> None:
    """Raise DataError for what servers send in place of a file, with a status that says all is well."""
    start = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for mark, what in PAGES.items():
        if start.startswith(mark):
            raise DataError(f"'{path.name}' is {what}, not the file")
