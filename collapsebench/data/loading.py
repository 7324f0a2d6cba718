"""Turns original files into splits: reads, checks and parses the files, and caches the splits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from itertools import count, takewhile
from pathlib import Path
from typing import TypeAlias

import numpy as np

from collapsebench.components.interfaces import Dataset
from collapsebench.data.cache import Arrays, cached
from collapsebench.data.files import facts_of, read
from collapsebench.data.splits import ArraySplit, BinaryImages, GreyImages, TextSplit
from collapsebench.examples import ImageSpec, Splits, TextSpec

Parse: TypeAlias = Callable[[Mapping[str, bytes]], Splits]
SPLITS: tuple[type[ArraySplit], ...] = (TextSplit, BinaryImages, GreyImages)


def load_files(dataset: Dataset, names: Iterable[str], parse: Parse, folder: Path, cache: Path | None = None) -> Splits:
    """Return the splits that `parse` makes of the named files. The checksums of the files are checked every time.

    The cache has the splits by the dataset's name, version and parameters, and by the checksums. Raises DataError.
    """
    facts = facts_of(dataset)
    originals = {name: read(facts, name, folder) for name in names}
    key = {
        "version": dataset.version,
        "params": dataset.model_dump(mode="json"),
        "files": {name: original.checksum for name, original in originals.items()},
    }
    contents = {name: original.content for name, original in originals.items()}
    return unpack(cached(dataset.name, key, lambda: pack(parse(contents)), cache))


def pack(splits: Splits) -> Arrays:
    """Return splits as arrays named `train/0`, `train/1`, …. The array `layout` says in JSON what they are."""
    packed: Arrays = {}
    kinds: dict[str, str] = {}
    for name, split in (("train", splits.train), ("valid", splits.valid), ("test", splits.test)):
        kinds[name] = type(split).__name__
        packed |= {f"{name}/{i}": array for i, array in enumerate(split.arrays())}
    layout = json.dumps({"spec": asdict(splits.spec), "splits": kinds})
    return {"layout": np.array(layout), **packed}


def unpack(packed: Arrays) -> Splits:
    """Return the splits that `pack` turned into arrays."""
    layout = json.loads(str(packed["layout"]))
    classes = {cls.__name__: cls for cls in SPLITS}

    def split(name: str) -> ArraySplit:
        keys = takewhile(packed.__contains__, (f"{name}/{i}" for i in count()))
        return classes[layout["splits"][name]](*(packed[key] for key in keys))

    fields = layout["spec"]
    spec = ImageSpec(tuple(fields["shape"])) if "shape" in fields else TextSpec(**fields)
    return Splits(spec, split("train"), split("valid"), split("test"))
