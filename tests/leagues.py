"""Scores of leagues: from lists of numbers, and any small ones with ties."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from hypothesis import strategies as st

from collapsebench.estimates import Direction
from collapsebench.reporting.league import Bootstrap, Losses, losses

FEW = Bootstrap(resamples=200)

Table = Mapping[str, Mapping[str, Sequence[float | None]]]
"""`table[task][contender]`: a score for each seed."""

whole = st.integers(-3, 3).map(float)
score = st.one_of(whole, st.just(math.nan), st.none())
two_to_four, one_to_three, one_to_four = st.integers(2, 4), st.integers(1, 3), st.integers(1, 4)


def scores(tables: Table) -> dict[str, dict[str, dict[int, float | None]]]:
    """Number the seeds of lists of scores."""
    return {
        task: {contender: dict(enumerate(values)) for contender, values in own.items()} for task, own in tables.items()
    }


def lower(tables: Table) -> Losses:
    """The losses of scores of which the lower ones are better."""
    return losses(scores(tables), Direction.LOWER)


@st.composite
def tables(
    draw: st.DrawFn,
    numbers: st.SearchStrategy[float | None] = whole,
    contenders: st.SearchStrategy[int] = two_to_four,
    tasks: st.SearchStrategy[int] = one_to_three,
    seeds: st.SearchStrategy[int] = one_to_four,
) -> dict[str, dict[str, list[float | None]]]:
    """Scores with ties, of the same contenders in each task."""
    names = [f"c{i}" for i in range(draw(contenders))]
    own = [draw(seeds) for _ in range(draw(tasks))]
    return {
        f"t{i}": {name: draw(st.lists(numbers, min_size=size, max_size=size)) for name in names}
        for i, size in enumerate(own)
    }
