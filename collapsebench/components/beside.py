"""The files beside a plugin file: it may import them, and those of two plugins are not mixed up."""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, FileFinder, SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Final

from collapsebench.errors import PluginError

if TYPE_CHECKING:
    from types import CodeType, ModuleType

FILE_MODULE: Final = "collapsebench_file_"
"""The beginning of the names of modules of plugin files."""


class PluginLoader(SourceFileLoader):
    """Loads the source as it is now, and keeps it in `source`.

    Python's own loader takes the compiled code of an earlier import if the file has the same size and second.
    """

    source: bytes | None = None

    def get_code(self, fullname: str) -> CodeType:
        """Compile the file."""
        path = self.get_filename(fullname)
        self.source = self.get_data(path)
        code: CodeType = self.source_to_code(self.source, path)
        return code

    def exec_module(self, module: ModuleType) -> None:
        """Run the module. If it is a package, its modules are loaded in the same way."""
        for folder in getattr(module, "__path__", ()):
            sys.path_importer_cache[folder] = _finder(folder)
        super().exec_module(module)


def _finder(folder: str) -> FileFinder:
    """Return what finds the modules of a folder for plugins."""
    return FileFinder(folder, (ExtensionFileLoader, EXTENSION_SUFFIXES), (PluginLoader, [".py"]))


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
    forgotten = {file.stem for file in path.resolve().parent.iterdir()} & _beside().keys()
    for name in [name for name in sys.modules if name.partition(".")[0] in forgotten]:
        del sys.modules[name]
    others = [entry for entry in sys.path if entry != folder]
    first = next((i for i, entry in enumerate(others) if isinstance(entry, _PluginFolder)), len(others))
    sys.path[:] = [*others[:first], folder, *others[first:]]
    sys.path_importer_cache[str(folder)] = _finder(folder)


def plugin_modules() -> list[ModuleType]:
    """Return the modules of plugin files and of the files beside them that are imported."""
    known = list(sys.modules.items())
    # A thousand modules are in a package. To look at their names alone takes a fifth of the time.
    roots = {name for name, module in known if "." not in name and _is_of_plugin(module)}
    return [module for name, module in known if name.partition(".")[0] in roots and _is_of_plugin(module)]


def _is_of_plugin(module: ModuleType) -> bool:
    return isinstance(getattr(getattr(module, "__spec__", None), "loader", None), PluginLoader)


def _beside() -> dict[str, Path]:
    """Return the imported modules that lie beside plugins, with their folders."""
    specs = {name: getattr(module, "__spec__", None) for name, module in sys.modules.items() if "." not in name}
    return {
        name: Path(str(spec.origin)).parents[spec.submodule_search_locations is not None]
        for name, spec in specs.items()
        if spec is not None and isinstance(spec.loader, PluginLoader) and not name.startswith(FILE_MODULE)
    }
