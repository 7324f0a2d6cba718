"""t-SNE of posterior means, coloured by label: Figure 2 of Dieng et al. 2019.

A model that uses its latent variable groups examples by their label, although training saw no labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.reporting.plotting.canvas import legend, panels

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from collapsebench.metrics.codes import Codes

PERPLEXITY = 30.0
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


def subset(total: int, number: int, seed: int) -> NDArray[np.int64]:
    """Choose at most `number` examples. Return their positions in rising order, the same for every contender."""
    import numpy as np

    chosen = np.random.default_rng(seed).permutation(total)[:number]
    return np.sort(chosen)


def embed(mean: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Embed (n, D) in (n, 2) by t-SNE (van der Maaten and Hinton 2008), starting from two principal components.

    Equal codes give equal positions, because only one thread computes: several threads would add numbers in changing
    orders. If there is only one unit, a constant second unit is added, because the start needs two components.
    """
    import numpy as np
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if mean.shape[1] == 1:
        mean = np.hstack([mean, np.zeros_like(mean)])
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
        found[label] = Embedding(embed(each.mean[chosen], seed), each.labels[chosen])
    return found


def embedding_note(used: int, total: int, seed: int) -> str:
    """Return a note that says how the embedding was made."""
    return (
        f"t-SNE of the posterior means of {used:,} of {total:,} test examples, coloured by label; perplexity "
        f"{_perplexity(used):.3g}, started from principal components; run and embedding of seed {seed}"
    )


def draw(embedded: Mapping[str, Embedding], title: str, note: str) -> Figure:
    """Draw a panel for each contender. Each label has a colour, and its number is at the median of its examples."""
    import numpy as np
    from matplotlib.patheffects import withStroke

    figure, axes = panels(len(embedded), title, height=4.4)
    classes = np.unique(np.concatenate([each.labels for each in embedded.values()])).tolist()
    colors = _colors(len(classes))
    artists: dict[str, Artist] = {}
    for panel, (label, each) in zip(axes, embedded.items(), strict=True):
        for name, color in zip(classes, colors, strict=True):
            position = each.position[each.labels == name]
            artists[str(name)] = panel.scatter(position[:, 0], position[:, 1], s=5, color=color, linewidths=0)
            if len(position):
                panel.annotate(
                    str(name),
                    np.median(position, axis=0).tolist(),
                    ha="center",
                    va="center",
                    weight="bold",
                    path_effects=[withStroke(linewidth=2.5, foreground="white")],
                )
        panel.set_title(label)
        panel.set(xticks=[], yticks=[], aspect="equal")
        panel.margins(0.05)
    legend(figure, artists, note, markers=3)
    return figure


def _colors(number: int) -> list[str]:
    """Return the colours of the labels. If the scheme has too few, they come from one map of rising lightness."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    if number <= len(LABELS):
        return list(LABELS[:number])
    return [to_hex(colormaps["viridis"](place / (number - 1))) for place in range(number)]
