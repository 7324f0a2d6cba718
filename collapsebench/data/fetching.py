"""Fetches original files. A file is checked before it appears, so that a broken download leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from collapsebench.data.files import check, find, uncompressed, verify
from collapsebench.data.located import find_datasets
from collapsebench.errors import DataError, UsageError
from collapsebench.facts import DatasetFacts, FileFacts
from collapsebench.files import replacing

if TYPE_CHECKING:
    from rich.console import Console


class Bar:
    """A live line on a terminal, with the methods that pooch calls to report progress. It is silent elsewhere."""

    def __init__(self, name: str, console: Console) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._progress.add_task(name, total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    @property
    def total(self) -> float | None:
        """The number of bytes of the file; None if the server does not say."""
        return self._progress.tasks[0].total

    @total.setter
    def total(self, size: int) -> None:
        self._progress.update(self._task, total=size or None)

    def update(self, size: int) -> None:
        """Add `size` bytes to those that have arrived."""
        self._progress.advance(self._task, size)

    def reset(self) -> None:
        """Start again at no bytes."""
        self._progress.reset(self._task, total=self.total)

    def close(self) -> None:
        """Do nothing: the end of the block stops the bar."""


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
            files = tuple(fetch(facts, located.folder, console))
        except DataError as error:
            yield FetchedDataset(facts.name, (), needed, str(error))
        else:
            yield FetchedDataset(facts.name, files, needed)


def fetch(facts: DatasetFacts, folder: Path, console: Console) -> list[Path]:
    """Fetch what is missing of a dataset into `folder/<dataset's folder>`, and return the paths of the new files.

    Raises DataError if a file in the folder is damaged, or if an address is unknown, does not answer, or gives another
    file than the original.
    """
    for _, _, error in verify(facts, folder):
        if error is not None:
            raise DataError(f"{error}; remove it to fetch it again")
    missing = [file for file in facts.files if find(facts, file, folder) is None]
    targets = [_fetch_file(file, folder / facts.folder, console) for file in missing if file.url is not None]
    by_hand = [file.name for file in missing if file.url is None and not file.optional]
    if by_hand:
        raise DataError(
            f"dataset '{facts.name}': no address is known of {', '.join(by_hand)}; {facts.card.source}, "
            f"and put it (plain or .gz) into '{folder / facts.folder}'"
        )
    return targets


def _fetch_file(file: FileFacts, folder: Path, console: Console) -> Path:
    from pooch import HTTPDownloader

    url = str(file.url)
    target = folder / (file.name + (".gz" if url.endswith(".gz") else ""))
    try:
        with replacing(target) as partial, Bar(file.name, console) as bar, ExitStack() as connections:

            def close_in_the_end(response: Any, **_: Any) -> None:  # after an error, pooch leaves the connection open
                connections.callback(response.close)

            download = HTTPDownloader(progressbar=bar, chunk_size=1 << 16, hooks={"response": close_in_the_end})
            download(url, str(partial), None)
            check(file, uncompressed(partial), partial)
    except DataError as error:
        raise DataError(f"what {url} gives is not usable: {error}") from None
    except OSError as error:
        raise DataError(f"cannot fetch {url} into '{folder}': {error}") from None
    return target
