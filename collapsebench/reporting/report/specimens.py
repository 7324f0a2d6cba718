"""Samples of trained models on the page: texts as they are, images as PNG inside the page, rows of numbers as text."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from collapsebench.reporting.samples import Part, Samples, Specimen

if TYPE_CHECKING:
    from numpy.typing import NDArray


def shown_samples(samples: Samples) -> dict[str, Any]:
    """Return the samples of one run: what they are, and groups of caption, content, and 1 if the model made it."""
    return {
        "label": samples.contender,
        "run": samples.run_id,
        "seed": str(samples.seed),
        "what": samples.what,
        "equal": int(len(samples.made) > 1 and samples.different == 1),
        "verdict": samples.verdict,
        "groups": [[_specimen(each) for each in group] for group in samples.groups],
    }


def _specimen(specimen: Specimen) -> list[str | int]:
    content, made = specimen.content, int(specimen.part is Part.MODEL)
    if isinstance(content, str):
        return [specimen.caption, content, made]
    if content.ndim == 3:
        return [specimen.caption, picture(content), made]
    return [specimen.caption, " ".join(f"{value:.2f}" for value in content.tolist()), made]


def picture(image: NDArray[np.floating]) -> str:
    """Return an image (C, H, W) from 0 to 1 as the address of a PNG that holds it. It is grey or in colours.

    >>> import numpy as np
    >>> picture(np.zeros((1, 2, 2)))[:22]
    'data:image/png;base64,'
    """
    from PIL import Image

    levels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    drawn = Image.fromarray(levels[0] if len(levels) == 1 else np.ascontiguousarray(levels.transpose(1, 2, 0)))
    out = io.BytesIO()
    drawn.save(out, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
