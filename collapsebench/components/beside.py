"""The files beside a plugin file: it may import them, and those of two plugins are not mixed up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from collapsebench.errors import PluginError

FILE_MODULE: Final = "collapsebench_file_"
"""The beginning of the names of modules of plugin files."""


def check_apart(beside: dict[str, Path], path: Path) -> None:
    """Add what a plugin imported from beside it. Raises PluginError if another plugin has a file of the same name."""
    own = {name: place for name, place in _beside().items() if place == path.resolve().parent}
    twice = next((name for name, place in own.items() if beside.get(name, place) != place), None)
    if twice is not None:
        raise PluginError(
            f"plugin file '{path}': another plugin has a file '{twice}' beside it, too: rename one of them"
        )
    beside |= own


class _PluginFolder(str):
    """An entry of `sys.path` for the files beside a plugin."""

    __slots__ = ()


def find_beside(path: Path) -> None:
    """Let a plugin import the files that lie beside it, as a script can. What is installed comes first.

    Its folder comes before those of other plugins. Files beside plugins that were imported before are forgotten if one
    of their name lies here: it may be another one, or a newer one. A folder that Python searches for itself, such as
    that of the user's script, is left alone: its modules are the user's.
    """
    folder = _PluginFolder(path.resolve().parent)
    if any(not isinstance(entry, _PluginFolder) and str(Path(entry).resolve()) == folder for entry in sys.path):
        return
    for name in {file.stem for file in path.resolve().parent.iterdir()} & _beside().keys():
        del sys.modules[name]
    others = [entry for entry in sys.path if entry != folder]
    first = next((i for i, entry in enumerate(others) if isinstance(entry, _PluginFolder)), len(others))
    sys.path[:] = [*others[:first], folder, *others[first:]]


def _beside() -> dict[str, Path]:
    """Return the imported modules that lie beside plugins, with their folders."""
    folders = {Path(entry) for entry in sys.path if isinstance(entry, _PluginFolder)}
    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items() if "." not in name}
    places = {name: Path(file).parent for name, file in files.items() if file is not None}
    packages = {name: place.parent if place.name == name else place for name, place in places.items()}
    return {name: place for name, place in packages.items() if place in folders and not name.startswith(FILE_MODULE)}
