"""Reads the files that a user adds as a dataset, and turns them into those that `Text` and `Images` read."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from collapsebench.data import images
from collapsebench.data.base import SPLITS
from collapsebench.data.cleaning import BYTE_ORDER_MARK, clean, numbered
from collapsebench.data.dividing import Division, into_splits
from collapsebench.data.files import uncompressed
from collapsebench.data.text import read_lines
from collapsebench.errors import DataError, UsageError

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
"""The modes of Pillow with at most eight bits for each channel."""

Array = NDArray[Any]


class Given(NamedTuple):
    """The files of a dataset, by their names in the data folder, and whether they hold labels."""

    contents: dict[str, bytes]
    labelled: bool


class Part(NamedTuple):
    """The pictures of one file or folder, with the labels of each picture if it has any."""

    name: str
    pixels: Array  # (N, H, W)
    labels: Array | None  # (N,)


def distinct(files: Sequence[Path]) -> None:
    """Raise UsageError if a file is given twice."""
    twice = next((file for file in files if files.count(file) > 1), None)
    if twice is not None:
        raise UsageError(f"file '{twice}' is given twice")


def given_text(stem: str, files: Sequence[Path], division: Division | None, labelled: bool | None) -> Given:
    """Read texts, one document a line: train, valid and test, or fewer files that are divided.

    Three files are kept as they are, unpacked. `labelled` says whether the text before the first tab is a label; None
    means: find out. Raises UsageError or DataError, which names the file of the user and the line.
    """
    distinct(files)
    packed = {str(path): uncompressed(path) for path in files}
    lines = {name: read_lines(name, content) for name, content in packed.items()}
    has_labels = all(text.labels is not None for text in clean(lines, labelled).values())
    parts = [np.array(list(_seen(each)), object) for each in lines.values()]
    texts = ["".join(f"{line}\n" for line in part).encode() for part in into_splits(parts, division)]
    kept = list(packed.values()) if division is None else texts
    return Given({f"{stem}.{split}.txt": text for split, text in zip(SPLITS, kept, strict=True)}, has_labels)


def _seen(lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines that are not blank, whatever ended them."""
    for number, line in enumerate(lines):
        text = line if number else line.removeprefix(BYTE_ORDER_MARK)
        yield from (part for part in text.split("\r") if part.strip())


def given_images(stem: str, files: Sequence[Path], division: Division | None) -> Given:
    """Read pictures: IDX or numpy files, an npz archive, or a folder of IDX or PNG files.

    Raises UsageError, and DataError, which names the file of the user.
    """
    distinct(files)
    parts = _parts(files)
    if len({part.labels is None for part in parts}) > 1:
        raise DataError(f"'{next(part.name for part in parts if part.labels is None)}' has no labels, and others have")
    read = images.pictures(*zip(*parts, strict=True))
    splits = dict(zip(SPLITS, into_splits(read, division), strict=True))
    contents = {f"{stem}.{split}.npy": _npy(pictures.pixels) for split, pictures in splits.items()}
    for split, pictures in splits.items():
        if pictures.classes is not None:
            contents[f"{stem}.{split}.labels.npy"] = _npy(pictures.classes)
    return Given(contents, parts[0].labels is not None)


def _npy(array: Array) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()


def _parts(files: Sequence[Path]) -> list[Part]:
    whole = next((path for path in files if path.is_dir()), None)
    if whole is None and len(files) == 1 and _is_archive(files[0]):
        whole = files[0]
    if whole is None:
        return _of_arrays(files)
    found = _idx_files(whole) if whole.is_dir() else []
    if found and len(files) == 1:
        return _of_arrays(found)
    if len(files) > 1:
        raise UsageError(f"'{whole}' holds all pictures or none: give it alone")
    return list(_of_folder(whole) if whole.is_dir() else _of_archive(whole))


def _idx_files(folder: Path) -> list[Path]:
    """Return the IDX files of a folder, plain or gzipped, which are called as those of MNIST: pictures, then labels."""
    words = ("train", "valid", "val", "t10k", "test")
    names = [
        f"{word}-{what}-ubyte{end}" for what in ("images-idx3", "labels-idx1") for word in words for end in ("", ".gz")
    ]
    return [folder / name for name in names if (folder / name).is_file()]


def _is_archive(path: Path) -> bool:
    return uncompressed(path).startswith(b"PK")


def _of_arrays(files: Sequence[Path]) -> list[Part]:
    """Return the arrays of pictures, each with that of labels: both kinds are in the order in which they are given."""
    arrays = {str(path): _array(path) for path in files}
    pixels = [(name, _grey(array)) for name, array in arrays.items() if array.ndim != 1]
    labels = [array for array in arrays.values() if array.ndim == 1]
    if labels and len(labels) != len(pixels):
        raise UsageError(f"every file of pictures needs one of labels: got {len(pixels)} and {len(labels)}")
    if not pixels:
        raise UsageError("no file holds pictures: all of them have one axis, as labels have it")
    owned: list[Array | None] = [*labels] or [None] * len(pixels)
    return [Part(*each, own) for each, own in zip(pixels, owned, strict=True)]


def _array(path: Path) -> Array:
    name, content = str(path), uncompressed(path)
    if content.startswith(b"\x93NUMPY"):
        return images.read_npy(name, content)
    if content[:3] == bytes((0, 0, 8)) and len(content) > 3:
        return images.read_idx(name, content, content[3])
    if content.startswith(b"PK"):
        raise UsageError(f"'{name}' holds all pictures or none: give it alone")
    raise DataError(f"file '{name}' holds no pictures: it is no IDX, npy or npz file, nor a folder of PNG files")


def _grey(pixels: Array) -> Array:
    """Return pictures without an axis for their one channel."""
    axis = next((axis for axis in (3, 1) if pixels.ndim == 4 and pixels.shape[axis] == 1), None)
    return pixels if axis is None else pixels.squeeze(axis)


PIXELS = ("{}", "{}_images", "x_{}")
LABELS = ("{}_labels", "y_{}")
"""The usual names of arrays in an archive; `{}` is the name of the split."""


def _of_archive(path: Path) -> Iterator[Part]:
    """Yield the parts of an npz archive: train, valid and test, train and test, or one of all pictures."""
    arrays = images.read_npz(str(path), uncompressed(path))
    splits = {split: _named(arrays, PIXELS, split) for split in SPLITS}
    found = {split: array for split, array in splits.items() if array is not None}
    if {"train", "test"} <= found.keys():
        for split, array in found.items():
            yield Part(f"{path}: {split}", _grey(array), _flat(_named(arrays, LABELS, split)))
        return
    pixels = next((arrays[name] for name in ("images", "x") if name in arrays), None)
    if pixels is None or found:
        known = ", ".join(sorted(arrays)) or "none"
        raise DataError(
            f"file '{path}' needs the arrays train, valid and test, train and test, or images; has: {known}"
        )
    labels = next((arrays[name] for name in ("labels", "y") if name in arrays), None)
    yield Part(str(path), _grey(pixels), _flat(labels))


def _named(arrays: Mapping[str, Array], patterns: Sequence[str], split: str) -> Array | None:
    """Return the array of a split under any of the usual names."""
    words = ("valid", "val") if split == "valid" else (split,)
    names = (pattern.format(word) for pattern in patterns for word in words)
    return next((arrays[name] for name in names if name in arrays), None)


def _flat(labels: Array | None) -> Array | None:
    """Return labels (N, 1) as (N,)."""
    return labels[:, 0] if labels is not None and labels.ndim == 2 and labels.shape[1] == 1 else labels


def _of_folder(folder: Path) -> Iterator[Part]:
    """Yield the parts of a folder of PNG files: those in train, valid and test, or one of all pictures."""
    children = {path.name: path for path in _visible(folder) if path.is_dir()}
    named = [children.get("train"), children.get("valid", children.get("val")), children.get("test")]
    divided = {"train", "test"} <= children.keys() <= {"train", "valid", "val", "test"}
    folders = [path for path in named if path is not None] if divided else [folder]
    read = [list(_pictures_of(each)) for each in folders]
    classes = numbered([[label for label, _, _ in part] for part in read])
    labelled = any(label for part in read for label, _, _ in part)
    for each, part, numbers in zip(folders, read, classes, strict=True):
        yield Part(str(each), _stacked(part), numbers if labelled else None)


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _pictures_of(folder: Path) -> Iterator[tuple[str, Path, Array]]:
    """Yield the label, the path and the pixels of every picture of a folder, or of its sub-folders, by name."""
    children = _visible(folder)
    folders = [path for path in children if path.is_dir()]
    if folders and len(folders) < len(children):
        raise DataError(f"folder '{folder}' holds files beside folders of classes")
    if not children:
        raise DataError(f"folder '{folder}' holds no PNG files")
    if not folders:
        yield from (("", path, _png(path)) for path in children)
    for each in folders:
        inner = _visible(each)
        if not inner:
            raise DataError(f"folder '{each}' holds no PNG files")
        yield from ((each.name, path, _png(path)) for path in inner)


def _png(path: Path) -> NDArray[np.uint8]:
    """Return the grey values (H, W) of a PNG file; colours become grey. Raises DataError."""
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.mode in MODES:
                return np.asarray(image.convert("L"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"file '{path}' is no PNG picture: {error}") from None
    raise DataError(f"picture '{path}' has more than 8 bits for a pixel: write it with 8")


def _stacked(pictures: Sequence[tuple[str, Path, Array]]) -> Array:
    """Return all pictures as one array (N, H, W). Raises DataError if their sizes differ."""
    _, first, model = pictures[0]
    for _, path, pixels in pictures:
        if pixels.shape != model.shape:
            sizes = [f"{height}x{breadth}" for height, breadth in (pixels.shape, model.shape)]
            raise DataError(f"picture '{path}' has {sizes[0]} pixels, and '{first}' {sizes[1]}: all need one size")
    return np.stack([pixels for _, _, pixels in pictures])
