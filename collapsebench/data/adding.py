"""Adds a text or pictures of a user to the data folder, so that they are a dataset without a line of Python."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from collapsebench.components import discovery
from collapsebench.data.dividing import Division
from collapsebench.data.files import data_folder, run_command
from collapsebench.data.given import Given, given_images, given_text
from collapsebench.data.own import OWN, facts_path, own_images, own_text
from collapsebench.errors import UsageError
from collapsebench.examples import Splits
from collapsebench.files import replacing
from collapsebench.printable import printable
from collapsebench.syntax import BASELINE, NAME


class Kind(StrEnum):
    """What the files of a user hold. The values are those of a dataset's card."""

    TEXT = "text"
    IMAGES = "images"


class Labels(StrEnum):
    """Where the labels of a text stand."""

    FIRST_COLUMN = "first-column"
    """Before the first tab of every line."""
    NONE = "none"


@dataclass(frozen=True)
class Addition:
    """A dataset that a user wants to add."""

    name: str
    kind: Kind
    files: tuple[Path, ...]
    """Train, valid and test; or train and test, or one file, which the division divides."""
    division: Division | None = None
    labels: Labels | None = None
    """Where the labels of a text stand; None: found out from the text."""
    replace: bool = False
    """True if it may take the place of one that was added before."""

    @classmethod
    def of(  # noqa: PLR0913 - the options of `collapsebench data add`
        cls,
        name: str,
        *,
        files: tuple[Path, ...],
        text: bool = False,
        images: bool = False,
        shares: str | None = None,
        seed: int = 0,
        labels: str | None = None,
        replace: bool = False,
    ) -> Self:
        """Read the options of `collapsebench data add`. Raises UsageError unless one kind is given."""
        if text == images:
            raise UsageError("say what the files hold: --text or --images, one of the two")
        division = None if shares is None else Division.parse(shares, seed)
        kind = Kind.TEXT if text else Kind.IMAGES
        return cls(name, kind, files, division, None if labels is None else Labels(labels), replace)

    def store(self, data_dir: Path | None = None) -> str:
        """Store the files in the data folder, with a facts file that has their checksums.

        Returns the command that runs the baseline on them. `data_dir` is the data folder; None stands for the user's
        cache folder. Raises UsageError for no name or one that is taken, and for files that do not fit together;
        DataError for a file that is not what it should be.
        """
        folder = data_folder(data_dir)
        path = facts_path(self.name, folder)
        _check_name(self, path)
        given = _read(self)
        splits = _parsed(self, given, path)
        _store(path, given.contents, "\n".join(_facts(self, given, splits)) + "\n")
        return run_command(self.name, folder)


def _check_name(addition: Addition, path: Path) -> None:
    """Raise UsageError unless the name can be given to a new dataset."""
    name = addition.name
    if NAME.fullmatch(name) is None or name == BASELINE:
        raise UsageError(f"a dataset has a name of small letters, digits and dashes, got '{name}'")
    taken = discovery.load(kinds={"dataset"}).entries.get(("dataset", name))
    if taken is not None:
        raise UsageError(f"dataset '{name}' is there already, of plugin '{taken.plugin}': choose another name")
    if path.exists() and not addition.replace:
        raise UsageError(f"dataset '{name}' is there already ({path}): choose another name, or --replace it")


def _read(addition: Addition) -> Given:
    name, files, division = addition.name, addition.files, addition.division
    if addition.kind is Kind.TEXT:
        labelled = None if addition.labels is None else addition.labels is Labels.FIRST_COLUMN
        return given_text(name, files, division, labelled)
    if addition.labels is not None:
        raise UsageError("--labels is for --text: pictures have labels in files or in the names of folders")
    return given_images(name, files, division)


def _parsed(addition: Addition, given: Given, path: Path) -> Splits:
    """Return the splits at the default parameters."""
    own = own_text if addition.kind is Kind.TEXT else own_images
    return own(path, labelled=given.labelled)().parse(given.contents)


def _facts(addition: Addition, given: Given, splits: Splits) -> Iterator[str]:
    """Yield the lines of the facts file."""
    yield "# Written by `collapsebench data add`. A table [tracks.NAME] adds a track."
    yield from _pairs({"folder": f"{OWN}/{addition.name}", "tracks_of_kind": True, "labelled": given.labelled})
    yield from ("", "[card]", *_pairs(_card(addition)), "", "[splits]")
    hashes = splits.hashes()
    for split, part in (("train", splits.train), ("valid", splits.valid), ("test", splits.test)):
        yield f'{split} = {{ examples = {len(part)}, sha256 = "{hashes[split]}" }}'
    for name, content in given.contents.items():
        known = {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        yield from ("", "[[files]]", *_pairs(known))


def _card(addition: Addition) -> dict[str, str]:
    names = ", ".join(printable(file.name) for file in addition.files)
    division = addition.division
    divided = ""
    if division is not None:
        shares = ",".join(f"{share:g}" for share in division.shares)
        divided = f"; divided by --split {shares} --seed {division.seed}"
    return {
        "title": addition.name,
        "kind": addition.kind.value,
        "description": f"Added from {names}{divided}.",
        "licence": "not stated",
        "comparability": "With results on the same files.",
        "source": f"add it again: collapsebench data add {addition.name} --{addition.kind.value} FILE … --replace",
    }


def _pairs(table: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a table in TOML. Its texts are printable, so that JSON writes them as TOML does."""
    return (f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items())


def _store(path: Path, contents: Mapping[str, bytes], facts: str) -> None:
    """Write the files, and then the facts file. Who looks meanwhile finds the old dataset, the new one, or none."""
    folder = path.with_suffix("")
    unfinished = folder.with_name(f"{folder.name}.{uuid4().hex}.part")
    unfinished.mkdir(parents=True)
    try:
        for name, content in contents.items():
            (unfinished / name).write_bytes(content)
        path.unlink(missing_ok=True)
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    with replacing(path) as partial:
        partial.write_text(facts, encoding="utf-8")
