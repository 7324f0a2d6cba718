"""Small files in the formats of the originals, and datasets that declare them as theirs."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.io import savemat

from collapsebench.components.interfaces import Dataset


def idx(array: NDArray[np.generic]) -> bytes:
    """Bytes in the IDX format of MNIST."""
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


def amat(images: NDArray[np.generic]) -> bytes:
    """Binary images as text, one a line."""
    return "".join(" ".join(map(str, image.ravel().tolist())) + "\n" for image in images).encode()


def npz(**arrays: ArrayLike) -> bytes:
    """A numpy archive."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # no array is named `allow_pickle`
    return file.getvalue()


def mat(**arrays: ArrayLike) -> bytes:
    """A MATLAB file."""
    file = io.BytesIO()
    savemat(file, arrays)
    return file.getvalue()


def by_columns(
    images: NDArray[np.generic], classes: NDArray[np.integer], alphabets: int = 50
) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    """Images (784, N) stored by columns and one-hot alphabets (50, N), as in chardata.mat."""
    return images.transpose(0, 2, 1).reshape(len(images), -1).T, np.eye(alphabets)[classes].T


def write(folder: Path, contents: Mapping[str, bytes], *, zipped: bool = False) -> None:
    """Put files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        path = folder / (name + ".gz" if zipped else name)
        path.write_bytes(gzip.compress(content) if zipped else content)


def facts_table(contents: Mapping[str, bytes], **entries: str | None) -> str:
    """The text of a facts file for these files, with their true checksums unless `entries` says otherwise."""
    lines = ['folder = "sub"', "[card]", 'title = "small"', 'kind = "text"', 'description = "small"']
    lines += ['licence = "none"', 'comparability = "with nothing"', 'source = "ask the author"']
    for name, content in contents.items():
        own = {"name": name, "sha256": hashlib.sha256(content).hexdigest()} | entries
        lines += ["[[files]]", *(f'{key} = "{value}"' for key, value in own.items() if value is not None)]
    return "\n".join(lines)


def declared(
    dataset: type[Dataset], folder: Path, contents: Mapping[str, bytes], **entries: str | None
) -> type[Dataset]:
    """The dataset's class, with these files for its own."""
    path = folder / "facts.toml"
    path.write_text(facts_table(contents, **entries))
    return type("Small", (dataset,), {"name": dataset.name, "facts": path, "__module__": __name__})
