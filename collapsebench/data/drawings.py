"""Makes the file of Omniglot, 28x28, from the two archives of its authors."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collapsebench.data.archives import read_members
from collapsebench.data.images import SIDE
from collapsebench.errors import DataError

PATH = re.compile(r"images_(background|evaluation)/([^/]+)/character\d+/(\d+)_(\d+)\.png")
"""The part, the alphabet, the number of the character (over all alphabets) and that of the drawer."""


class Drawing(NamedTuple):
    """One drawing. Its first fields give the order of the rows."""

    character: int
    drawer: int
    alphabet: str
    background: bool
    pixels: NDArray[np.uint8]  # (28, 28)


def omniglot(archives: Mapping[str, bytes]) -> bytes:
    """Return a numpy archive of all drawings of the archives, by name, in 28x28.

    A drawing is inverted, so that ink is 255 and paper is 0, and resized by Pillow's BOX filter, the average of areas.
    The rows are sorted by character and then by drawer. Characters are numbered in the order of the numbers in the
    names of their files, and alphabets in the order of their first characters. Raises DataError.
    """
    drawings = sorted(
        (drawing for name, packed in archives.items() for drawing in _drawings(name, packed)),
        key=lambda drawing: drawing[:2],
    )
    if not drawings:
        raise DataError(f"no archive of {', '.join(archives)} holds a drawing")
    alphabets = list(dict.fromkeys(drawing.alphabet for drawing in drawings))
    numbers = {name: i for i, name in enumerate(alphabets)}
    characters = np.array([drawing.character for drawing in drawings])
    file = io.BytesIO()
    np.savez_compressed(
        file,
        images=np.stack([drawing.pixels for drawing in drawings]),
        character=np.unique(characters, return_inverse=True)[1].astype(np.int16),
        alphabet=np.array([numbers[drawing.alphabet] for drawing in drawings], np.int8),
        drawer=np.array([drawing.drawer for drawing in drawings], np.int8),
        background=np.array([drawing.background for drawing in drawings]),
        alphabet_names=np.array(alphabets),
    )
    return file.getvalue()


def _drawings(name: str, packed: bytes) -> Iterator[Drawing]:
    for path, content in read_members(name, packed, _is_drawing):
        match = PATH.fullmatch(str(path))
        if match is not None:
            part, alphabet, character, drawer = match.groups()
            yield Drawing(int(character), int(drawer), alphabet, part == "background", _small(str(path), content))


def _is_drawing(path: PurePosixPath) -> bool:
    return PATH.fullmatch(str(path)) is not None


def _small(name: str, content: bytes) -> NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            ink = 255 - np.asarray(image.convert("L"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"drawing '{name}' is not a picture: {error}") from None
    return np.asarray(Image.fromarray(ink).resize((SIDE, SIDE), Image.Resampling.BOX))
