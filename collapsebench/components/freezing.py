"""Copies of plugin files for workers that start later or elsewhere: edits made since then do not reach them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from collapsebench.components.beside import FILE_MODULE
from collapsebench.components.code import ModuleSources, module_sources
from collapsebench.errors import PluginError
from collapsebench.files import replacing


class FrozenPlugins:
    """The sources of plugin files as they were loaded, with what they use from beside them."""

    def __init__(self, files: Iterable[Path]) -> None:
        """Read what was loaded. Raises PluginError for a file that was not."""
        self._sources = [(path, _loaded(path)) for path in files]

    @property
    def digest(self) -> str:
        """The SHA-256 of names and contents."""
        total = sha256()
        for path, sources in self._sources:
            for file, content in sorted(sources.content.items()):
                name = path.name if file == sources.path else file.relative_to(sources.root).as_posix()
                total.update(f"{name} {len(content)} ".encode() + content)
        return total.hexdigest()

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write the copies, and return those of the plugin files. Those of one folder are together again."""
        roots = list(dict.fromkeys(sources.root for _, sources in self._sources))
        copies = []
        for path, sources in self._sources:
            place = folder / str(roots.index(sources.root))
            for file, content in sources.content.items():
                copy = place / (path.name if file == sources.path else file.relative_to(sources.root))
                with replacing(copy) as partial:
                    partial.write_bytes(content)
            copies.append(place / path.name)
        return tuple(copies)


def _loaded(path: Path) -> ModuleSources:
    module = sys.modules.get(f"{FILE_MODULE}{path.stem}")
    sources = None if module is None else module_sources(module)
    if sources is None:
        raise PluginError(f"plugin file '{path}' is not loaded")
    return sources
