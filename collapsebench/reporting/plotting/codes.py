"""t-SNE of posterior means, coloured by label: Figure 2 of Dieng et al. 2019.

A model that uses its latent variable groups examples by their label, although training saw no labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from collapsebench.reporting.escaping import figure_text
from collapsebench.reporting.plotting.canvas import AS_USUAL, FigureStyle, legend, panels

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from collapsebench.metrics.codes import Codes

PERPLEXITY = 30.0
SIDE, TITLE = 3.6, 0.3
"""The side of a panel, and the height of its title, in inches."""
POINT, DOT = 8.0, 0.5
"""The sizes of the point at which all examples stand, and of other points, in squares of the size of letters."""
MARGIN = 1.08
"""A panel is so many times as wide as the positions in it."""
FLATTEST = 0.6
"""The least height of a panel over its width."""
FEWEST = 4
"""The fewest examples that t-SNE can place."""
ROUNDING = 1e-6
"""Means whose differences are a smaller share of them are equal."""
LABELS = (
    "#332288",
    "#88CCEE",
    "#44AA99",
    "#117733",
    "#999933",
    "#DDCC77",
    "#CC6677",
    "#882255",
    "#AA4499",
    "#888888",
)
"""The colours of the labels: Paul Tol's muted scheme, with a darker grey."""


class Embedding(NamedTuple):
    """The positions and labels of the examples of one contender."""

    position: NDArray[np.float32]
    """The positions (n, 2), without a unit. Only neighbourhoods have a meaning."""
    labels: NDArray[np.int64]
    """The labels (n,)."""
    note: str = ""
    """What the panel shows if it is not t-SNE of all examples, as of a contender that has collapsed."""


def subset(total: int, number: int, seed: int) -> NDArray[np.int64]:
    """Choose at most `number` examples. Return their positions in rising order, the same for every contender."""
    import numpy as np

    chosen = np.random.default_rng(seed).permutation(total)[:number]
    return np.sort(chosen)


def embed(mean: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> Embedding:
    """Place examples with the posterior means (n, D), and say how if it is not by t-SNE of all of them.

    Means that are equal in all examples stand at one point: the posterior has collapsed. Those of one unit stand on a
    strip. Without units, or without finite means, there is nothing to place.
    """
    import numpy as np

    known = np.asarray(np.isfinite(mean).all(1), np.bool_)
    means, labels = mean[known].astype(np.float64), labels[known]
    left_out = "" if known.all() else f"{np.count_nonzero(~known):,} of {len(known):,} means are not finite; "
    varying = means[:, _varies(means)]
    if mean.shape[1] == 0:
        return Embedding(np.zeros((0, 2), np.float32), labels[:0], "no latent units: no codes")
    if len(means) == 0:
        return Embedding(np.zeros((0, 2), np.float32), labels, f"{left_out}nothing to draw")
    if varying.shape[1] == 0:
        return Embedding(np.zeros((len(means), 2), np.float32), labels, f"{left_out}constant codes: all at one point")
    scaled = (varying - varying.mean(0)) / np.abs(varying - varying.mean(0)).max()
    if varying.shape[1] == 1:
        of_units = "one unit" if mean.shape[1] == 1 else f"1 of {mean.shape[1]} units varies"
        return Embedding(_strip(scaled, seed), labels, f"{left_out}{of_units}: a strip, height without meaning")
    if len(means) < FEWEST:
        return Embedding(_components(scaled), labels, f"{left_out}two principal components")
    return Embedding(_t_sne(scaled.astype(np.float32), seed), labels, left_out.rstrip("; "))


def _varies(means: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say of each unit whether its means differ by more than the rounding of 32-bit floats."""
    import numpy as np

    if len(means) == 0:
        return np.zeros(means.shape[1], np.bool_)
    return np.asarray(np.ptp(means, axis=0) > ROUNDING * np.abs(means).max(0))


def _strip(means: NDArray[np.float64], seed: int) -> NDArray[np.float32]:
    """Place (n, 1) along a line, at random heights, so that examples do not hide each other."""
    import numpy as np

    heights = np.random.default_rng(seed).uniform(-0.1, 0.1, len(means))
    return np.column_stack([means[:, 0], heights]).astype(np.float32)


def _components(means: NDArray[np.float64]) -> NDArray[np.float32]:
    """Place a few examples (n, D) by their two principal components."""
    import numpy as np

    left, scale, _ = np.linalg.svd(means - means.mean(0), full_matrices=False)
    found = np.zeros((len(means), 2), np.float32)
    found[:, : min(2, len(scale))] = (left * scale)[:, :2]
    return found


def _t_sne(mean: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Embed (n, D) in (n, 2) by t-SNE (van der Maaten and Hinton 2008), starting from two principal components.

    Equal codes give equal positions, because only one thread computes: several threads would add numbers in changing
    orders. The scale of the means does not matter, as each example has a scale of its own.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        found: NDArray[np.float32] = TSNE(
            init="pca",
            perplexity=_perplexity(len(mean)),
            learning_rate="auto",
            random_state=seed % 2**32,
            n_jobs=1,
        ).fit_transform(mean)
    return found


def _perplexity(examples: int) -> float:
    """Return the usual perplexity, or less if there are too few examples for so many neighbours."""
    return min(PERPLEXITY, (examples - 1) / 3)


def embeddings(codes: Mapping[str, Codes], number: int, seed: int) -> dict[str, Embedding]:
    """Embed the codes of each contender. Raises ValueError if codes have no labels."""
    found = {}
    for label, each in codes.items():
        if each.labels is None:
            raise ValueError(f"the codes of '{label}' have no labels")
        chosen = subset(len(each.mean), number, seed)
        found[label] = embed(each.mean[chosen], each.labels[chosen], seed)
    return found


def embedding_note(used: int, total: int, seed: int) -> str:
    """Return a note that says how the embedding was made."""
    return (
        f"t-SNE of the posterior means of {used:,} of {total:,} test examples, coloured by label; perplexity "
        f"{_perplexity(used):.3g}, started from principal components; run and embedding of seed {seed}"
    )


def draw(embedded: Mapping[str, Embedding], title: str, note: str, style: FigureStyle = AS_USUAL) -> Figure:
    """Draw a panel for each contender. Each label has a colour, and its number is at the median of its examples."""
    import numpy as np
    from matplotlib import rcParams
    from matplotlib.patheffects import withStroke

    shape = _shape(embedded.values())
    figure, axes = panels(len(embedded), title, style, width=SIDE, height=shape * SIDE + TITLE)
    classes = np.unique(np.concatenate([each.labels for each in embedded.values()])).tolist()
    colors, letters = _colors(len(classes)), float(rcParams["font.size"])
    artists: dict[str, Artist] = {}
    for panel, (label, each) in zip(axes, embedded.items(), strict=True):
        for name, color in zip(classes, colors, strict=True):
            position = each.position[each.labels == name]
            one_point = not np.ptp(each.position, axis=0).any() if len(each.position) else False
            size = (POINT if one_point else DOT) * letters
            artists[str(name)] = panel.scatter(position[:, 0], position[:, 1], s=size, color=color, linewidths=0)
            if len(position) and (len(position) == len(each.position) or not one_point):
                panel.annotate(
                    figure_text(str(name)),
                    np.median(position, axis=0).tolist(),
                    ha="center",
                    va="center",
                    weight="bold",
                    path_effects=[withStroke(linewidth=2.5, foreground="white")],
                )
        name = figure_text(style.called(label))
        panel.set_title(f"{name}\n{each.note}" if each.note else name, fontsize="medium")
        panel.set(xticks=[], yticks=[], **_window(each.position, shape))
    legend(figure, artists, note, style, markers=3)
    return figure


def _extent(position: NDArray[np.float32]) -> tuple[float, float]:
    """Return the width and the height that positions (n, 2) take."""
    if len(position) == 0:
        return 0.0, 0.0
    width, height = (position.max(0).astype(float) - position.min(0)).tolist()
    return width, height


def _shape(embedded: Iterable[Embedding]) -> float:
    """Return the height of all panels over their width: as much as the highest embedding needs."""
    extents = [_extent(each.position) for each in embedded]
    needed = [height / width if width > 0 else FLATTEST for width, height in extents]
    return min(max([FLATTEST, *needed]), 1.0)


def _window(position: NDArray[np.float32], shape: float) -> dict[str, Any]:
    """Return the axes of a panel of this shape: equal scales, and all positions in it."""
    width, height = _extent(position)
    reach = MARGIN * max(width, height / shape) / 2 or 1.0
    x, y = ((position.max(0).astype(float) + position.min(0)) / 2).tolist() if len(position) else (0.0, 0.0)
    return {"xlim": (x - reach, x + reach), "ylim": (y - shape * reach, y + shape * reach), "box_aspect": shape}


def _colors(number: int) -> list[str]:
    """Return the colours of the labels. If the scheme has too few, they come from one map of rising lightness."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    if number <= len(LABELS):
        return list(LABELS[:number])
    return [to_hex(colormaps["viridis"](place / (number - 1))) for place in range(number)]
