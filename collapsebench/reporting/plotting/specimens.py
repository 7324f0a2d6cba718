"""Images that a model made, in a grid: what belongs together stands in one column, or in rows of eight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collapsebench.errors import UsageError
from collapsebench.reporting.escaping import figure_text
from collapsebench.reporting.samples import Part, Specimen, is_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from collapsebench.reporting.samples import Samples

ROW = 8
"""The most images of one group in a row."""

SIDE = 1.1
"""The side of an image, in inches."""


def draw(every: Sequence[Samples]) -> Figure:
    """Draw the images of some runs, one below the other. Raises UsageError if something else was made."""
    from matplotlib.figure import Figure

    for samples in every:
        if not all(is_image(each.content) for each in samples.specimens):
            raise UsageError(f"the samples of run {samples.run_id} are no images: print them, without --output")
    tables = [samples.rows(ROW) for samples in every]
    columns = max(len(row) for table in tables for row in table)
    heights = [len(table) * (SIDE + 0.25) + 0.6 for table in tables]
    figure = Figure(figsize=(max(columns * SIDE, 5.0), sum(heights)), layout="constrained")
    parts = figure.subfigures(len(tables), 1, height_ratios=heights, squeeze=False).flat
    for part, samples, table in zip(parts, every, tables, strict=True):
        title = "\n".join(map(figure_text, (samples.title, samples.verdict)))
        part.suptitle(title, fontsize="small")
        axes = part.subplots(len(table), columns, squeeze=False)
        for cells, row in zip(axes, table, strict=True):
            for panel in cells:
                panel.set_axis_off()
            for panel, specimen in zip(cells, row, strict=False):
                _show(panel, specimen)
    return figure


def _show(panel: Axes, specimen: Specimen) -> None:
    """Show one image. Those of the dataset have a frame."""
    image = np.asarray(specimen.content)
    shown = np.moveaxis(image, 0, -1) if len(image) == 3 else image.mean(0)
    panel.imshow(shown, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    panel.set_title(figure_text(specimen.caption), fontsize="xx-small")
    if specimen.part is Part.EXAMPLE:
        panel.set_axis_on()
        panel.set(xticks=[], yticks=[])
