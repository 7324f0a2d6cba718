"""The figures of stored runs. Each function draws the runs that a query means, and says what the figure shows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.errors import StoreError, UsageError, unknown
from collapsebench.reporting.families import sweep
from collapsebench.reporting.leaderboard import ENTRIES, score
from collapsebench.reporting.leaderboard.trajectories import TRAJECTORY_COLUMNS, check_counter
from collapsebench.reporting.plotting import codes, depth, rate_distortion, spectrum, trajectories
from collapsebench.reporting.selection import kept_codes, one_protocol

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from collapsebench.reporting.queries import Query
    from collapsebench.store import Store


class DrawnFigure(NamedTuple):
    """A figure, and what it shows."""

    figure: Figure
    what: str
    """In words, as in `kl over steps of 4 runs`."""


def draw_trajectories(
    store: Store, query: Query, contenders: Collection[str] = (), *, x: str, y: Sequence[str]
) -> DrawnFigure:
    """Draw values of the validation split over what the runs had spent, a line a contender.

    Raises UsageError for an unknown counter or value, and StoreError if no run has finished that counted `x`.
    """
    check_counter(x)
    columns = _known("value", y, TRAJECTORY_COLUMNS)
    selected = one_protocol(store, query, contenders, trajectories=True)
    every = {column: trajectories.lines(selected.runs, x, column) for column in columns}
    drawn = {column: lines for column, lines in every.items() if lines}
    if not drawn:
        raise StoreError(f"no run of protocol {selected.protocol_id} has finished and has counted {x}")
    number = max(sum(len(line.seeds) for line in lines) for lines in drawn.values())
    left_out = len(selected.runs) - number
    note = f"; left out {left_out} that did not finish or did not count {x}" if left_out else ""
    figure = trajectories.draw(drawn, x, selected.title)
    return DrawnFigure(figure, f"{', '.join(drawn)} over {x} of {number} runs{note}")


def draw_depth(
    store: Store, query: Query, contenders: Collection[str] = (), *, over: str, columns: Sequence[str]
) -> DrawnFigure:
    """Draw columns of boards over one setting in which protocols differ; the numbers of a suite's paper are hollow.

    Raises UsageError for a column that no board has, and StoreError if no contender has finished all its seeds.
    """
    swept = sweep(store, query, over, contenders)
    known = {column.key: column for board in swept.boards.values() for column in board.columns}
    keys = _known("column", columns, known)
    drawn = {known[key]: depth.series(swept.boards, key, swept.printed) for key in keys}
    if not any(drawn.values()):
        raise StoreError("no contender has finished all its seeds: `collapsebench leaderboard` shows what there is")
    figure = depth.draw(drawn, over, swept.title, swept.note)
    places = ", ".join(f"{place:g}" for place in swept.boards)
    return DrawnFigure(figure, f"{', '.join(keys)} over {over} at {places}")


def draw_codes(
    store: Store, query: Query, contenders: Collection[str] = (), *, seed: int | None, examples: int
) -> DrawnFigure:
    """Draw t-SNE of the posterior means of at most so many test examples, coloured by label, a panel a contender.

    Without a seed, the first one is taken of which all contenders have codes. Raises StoreError if there are no codes,
    and DataError if they have no labels.
    """
    selected = one_protocol(store, query, contenders)
    number, kept = kept_codes(store, selected, seed)
    drawn = codes.embeddings(kept, examples, number)
    total = len(next(iter(kept.values())).mean)
    shown = min(examples, total)
    figure = codes.draw(drawn, selected.title, codes.embedding_note(shown, total, number))
    return DrawnFigure(figure, f"codes of {', '.join(drawn)}, seed {number}, {shown} of {total} examples")


def draw_rate_distortion(store: Store, query: Query, contenders: Collection[str] = ()) -> DrawnFigure:
    """Draw each contender in the plane of rate and distortion. Raises StoreError if none has both numbers."""
    selected = one_protocol(store, query, contenders, entries=ENTRIES)
    drawn = rate_distortion.places(score(selected.runs))
    if not drawn:
        raise StoreError(
            f"no contender of protocol {selected.protocol_id} has KL and reconstruction for all its seeds: "
            "they are of the metrics 'kl' and 'neg-elbo', at the end of a run"
        )
    figure = rate_distortion.draw(drawn, selected.title)
    return DrawnFigure(figure, f"rate and distortion of {_labels(drawn)}")


def draw_spectrum(store: Store, query: Query, contenders: Collection[str] = ()) -> DrawnFigure:
    """Draw the variances of the units' posterior means in falling order. Raises StoreError if no run has them."""
    protocol = one_protocol(store, query, contenders).runs[0].protocol
    selected = one_protocol(store, query, contenders, entries=spectrum.entries(protocol))
    drawn = spectrum.spectra(selected.runs)
    if not drawn:
        raise StoreError(
            f"no run of protocol {selected.protocol_id} has finished with variances of its units: they are of the "
            "metric 'active-units'"
        )
    figure = spectrum.draw(drawn, spectrum.threshold(protocol), selected.title)
    return DrawnFigure(figure, f"variances of the units of {_labels(drawn)}")


def _labels(drawn: Iterable[rate_distortion.PlanePoint | spectrum.Spectrum]) -> str:
    return ", ".join(each.label for each in drawn)


def _known(what: str, names: Iterable[str], known: Collection[str]) -> list[str]:
    """The names, each once. Raises UsageError for one that is not known."""
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in known:
            raise UsageError(unknown(what, name, known))
    return wanted
