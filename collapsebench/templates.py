"""Writes a package for a component of a user: a template, in which the names are replaced.

A template is a package that works as it is. Its component is called `my-method`, its class `MyMethod`.
"""

from __future__ import annotations

import keyword
import re
import shutil
from collections.abc import Collection, Mapping
from enum import StrEnum
from pathlib import Path

from collapsebench.errors import UsageError, unknown
from collapsebench.facts import shipped_folder
from collapsebench.syntax import BASELINE, NAME


class Template(StrEnum):
    """The kinds of components for which there is a template."""

    METHOD = "method"
    METRIC = "metric"
    DECODER = "decoder"
    ENCODER = "encoder"
    DATASET = "dataset"

    @classmethod
    def of(cls, kind: str) -> Template:
        """Read the name of a kind. Raises UsageError with the nearest one."""
        if kind not in list(cls):
            raise UsageError(unknown("kind of component with a template", kind, cls))
        return cls(kind)

    @property
    def folder(self) -> Path:
        """The files of the template."""
        return shipped_folder("templates") / self.value

    def names(self, name: str) -> Mapping[str, str]:
        """What stands in the template, and what replaces it in the package of a name."""
        words = name.split("-")
        return {
            f"my-{self}": name,
            f"my_{self}": "_".join(words),
            f"My{self.title()}": "".join(word.capitalize() for word in words),
        }


def new_package(kind: str, name: str, folder: Path | None, taken: Collection[str]) -> Path:
    """Write the package `collapsebench-NAME` into a folder that does not exist yet, and return its module.

    `taken` are the names of the components of this kind. Raises UsageError for a name that cannot be, for one that is
    taken, and for a folder that exists, and OSError if it cannot be written. Then there is no folder.
    """
    template = Template.of(kind)
    _check_name(template, name, taken)
    folder = folder or Path(f"collapsebench-{name}")
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise UsageError(f"'{folder}' exists already: give another --output") from None
    names = template.names(name)
    try:
        _write(template, names, folder)
    except OSError:  # a part of a package would be in the way of the next try
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder / _replaced(f"collapsebench_my_{template}.py", names)


def _write(template: Template, names: Mapping[str, str], folder: Path) -> None:
    for file in _files(template):
        written = folder / _replaced(str(file.relative_to(template.folder)), names)
        written.parent.mkdir(exist_ok=True)
        written.write_text(_replaced(file.read_text(encoding="utf-8"), names), encoding="utf-8")


def _files(template: Template) -> list[Path]:
    return sorted(path for path in template.folder.rglob("*.*") if path.is_file() and path.suffix != ".pyc")


def _replaced(text: str, names: Mapping[str, str]) -> str:
    return re.sub("|".join(names), lambda found: names[found[0]], text)


def _check_name(template: Template, name: str, taken: Collection[str]) -> None:
    """Raise UsageError for a name that no component, module or class may have, or that is taken."""
    if NAME.fullmatch(name) is None or not name[0].isalpha() or name.endswith("-") or "--" in name:
        fitting = "-".join(re.findall(r"[a-z][a-z0-9]*", name.lower()))
        hint = f", as in '{fitting}'" if fitting else ""
        raise UsageError(
            f"'{name}' is no name for a {template}: write small letters, digits and single dashes, a letter first{hint}"
        )
    if name in taken or name == BASELINE:
        raise UsageError(f"{template} '{name}' is there already: choose another name")
    own = template.names(name)[f"My{template.title()}"]
    words = {word for file in _files(template) for word in re.findall(r"\w+", file.read_text(encoding="utf-8"))}
    if keyword.iskeyword(own) or own in words:
        raise UsageError(f"'{name}' would be the class {own}, which the package needs for something else")
