"""Writes samples for a terminal: texts as lines, small images in block characters, vectors as numbers."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from collapsebench.reporting.samples import Samples, Specimen, is_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDEST = 64
"""The most pixels of a side that are written in block characters."""

BLOCKS = " ▀▄█"
"""Two pixels, one above the other: none, the upper one, the lower one, both."""

GAP = 2
"""The columns between two images."""


def samples_text(samples: Samples, width: int = 80) -> str:
    """Write samples in lines of at most `width` columns, if one image is no wider.

    An image is one character for two pixels, one above the other; a pixel is set if it is above one half. Of larger
    images than 64 pixels only the size is written.
    """
    return "\n".join([f"{samples.title}; {samples.verdict}", *_body(samples, width)])


def _body(samples: Samples, width: int) -> Iterator[str]:
    if all(_is_picture(each) for each in samples.specimens):
        yield from _pictures(samples, width)
        return
    indent = max(len(each.caption) for each in samples.specimens) + 2
    for group in samples.groups:
        yield ""
        for specimen in group:
            yield from _line(specimen, indent, width)


def _is_picture(specimen: Specimen) -> bool:
    return is_image(specimen.content) and max(np.shape(specimen.content)[1:]) <= WIDEST


def _line(specimen: Specimen, indent: int, width: int) -> Iterator[str]:
    """Write a text or a row of numbers behind its caption."""
    content = specimen.content
    if isinstance(content, str):
        text = content or "(no words)"
    elif content.ndim == 1:
        text = " ".join(f"{value:.2f}" for value in content)
    else:
        text = "an image of {1} x {2} pixels, to be drawn with --output FILE.png".format(*content.shape)
    head = specimen.caption.ljust(indent)
    yield from textwrap.wrap(
        text, max(width, indent + 20), initial_indent=head, subsequent_indent=" " * indent, break_on_hyphens=False
    )


def _pictures(samples: Samples, width: int) -> Iterator[str]:
    """Write images side by side, below their captions."""
    columns = max(len(line) for each in samples.specimens for line in _block(each)) + GAP
    for row in samples.rows(max(1, (width + GAP) // columns)):
        yield ""
        for line in zip(*map(_block, row), strict=True):
            yield "".join(part.ljust(columns) for part in line).rstrip()


def _block(specimen: Specimen) -> list[str]:
    """Write the caption and the lines of one image."""
    return [specimen.caption, *block_characters(np.asarray(specimen.content))]


def block_characters(image: NDArray[np.floating]) -> list[str]:
    """Write an image (C, H, W) from 0 to 1 in half as many lines as it has rows.

    >>> import numpy as np
    >>> block_characters(np.array([[[1, 1, 0], [1, 0, 0], [0, 1, 0]]], np.float32))
    ['█▀ ', ' ▀ ']
    """
    pixels = image.mean(0) > 0.5
    upper, lower = pixels[::2], pixels[1::2]
    if len(lower) < len(upper):
        lower = np.vstack([lower, np.zeros_like(upper[-1:])])
    return [
        "".join(BLOCKS[above + 2 * below] for above, below in zip(*pair, strict=True))
        for pair in zip(upper.astype(int).tolist(), lower.astype(int).tolist(), strict=True)
    ]
