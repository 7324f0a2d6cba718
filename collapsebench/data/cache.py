"""Parsed data on disk, so that a start does not parse them again. The program also works without a cache file.

Each key has one uncompressed numpy archive, which is written atomically. A file is made again if it is damaged (its
CRC-32 does not fit) or belongs to another key.
"""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from collapsebench.data.files import cache_folder
from collapsebench.files import replacing

FORMAT = 2
"""The version of what is cached. Raise it when the layout of the arrays changes, or what is made of the same files."""

Arrays: TypeAlias = dict[str, NDArray[Any]]
logger = logging.getLogger(__name__)


def cached(name: str, key: Mapping[str, Any], build: Callable[[], Arrays], folder: Path | None = None) -> Arrays:
    """Return the arrays that `build` makes, from the cache if it has them. `key` holds everything they depend on."""
    text = json.dumps({"format": FORMAT, "name": name, **key}, sort_keys=True)
    folder = folder or _default_folder()
    if folder is None:
        return build()
    path = folder / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"
    arrays = _read(path, text)
    if arrays is None:
        arrays = build()
        _write(path, text, arrays)
    return arrays


def _default_folder() -> Path | None:
    cache = cache_folder()
    return None if cache is None else cache / "parsed"


def _read(path: Path, key: str) -> Arrays | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = dict(archive)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        logger.info("cache file %s is damaged and made again: %s", path, error)
        return None
    if str(arrays.pop("key", "")) != key:
        logger.info("cache file %s belongs to another key and is made again", path)
        return None
    return arrays


def _write(path: Path, key: str, arrays: Arrays) -> None:
    try:
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, key=np.array(key), **arrays)
    except OSError as error:
        logger.info("cannot cache in %s: %s", path.parent, error)
