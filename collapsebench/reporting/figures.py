"""The figures of stored runs. Each function draws the runs that a query selects, and says what the figure shows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.components import discovery
from collapsebench.errors import StoreError, UsageError, unknown
from collapsebench.reporting.families import sweep
from collapsebench.reporting.leaderboard import ENTRIES, likelihood_limits, score
from collapsebench.reporting.leaderboard.trajectories import TRAJECTORY_COLUMNS, check_counter
from collapsebench.reporting.league import Bootstrap
from collapsebench.reporting.leagues import one_ranking
from collapsebench.reporting.plotting import (
    codes,
    depth,
    league_fronts,
    league_profile,
    rate_distortion,
    spectrum,
    trajectories,
)
from collapsebench.reporting.plotting.canvas import AS_USUAL
from collapsebench.reporting.queries import SuiteQuery
from collapsebench.reporting.selection import kept_codes, one_protocol
from collapsebench.syntax import labels_of, parse_model_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from collapsebench.experiment.trained import Models
    from collapsebench.reporting.divisions import Division
    from collapsebench.reporting.leagues import Ranking
    from collapsebench.reporting.plotting.canvas import FigureStyle
    from collapsebench.reporting.queries import Query
    from collapsebench.store import Store


class DrawnFigure(NamedTuple):
    """A figure, and a description of it."""

    figure: Figure
    what: str
    """The description in words, as in `kl over steps of 4 runs`."""


def draw_trajectories(
    store: Store,
    query: Query,
    contenders: Collection[str] = (),
    style: FigureStyle = AS_USUAL,
    *,
    x: str,
    y: Sequence[str],
) -> DrawnFigure:
    """Draw values of the validation split over the counter `x`, with one line for each contender.

    Raises UsageError for an unknown counter or value, and StoreError if no finished run has counted `x`.
    """
    check_counter(x)
    columns = _checked("value", y, TRAJECTORY_COLUMNS)
    selected = one_protocol(store, query, contenders, trajectories=True)
    every = {column: trajectories.lines(selected.runs, x, column) for column in columns}
    by_column = {column: lines for column, lines in every.items() if lines}
    if not by_column:
        raise StoreError(f"no run of protocol {selected.protocol_id} has finished and has counted {x}")
    number = max(sum(len(line.seeds) for line in lines) for lines in by_column.values())
    left_out = len(selected.runs) - number
    note = f"; left out {left_out} that did not finish or did not count {x}" if left_out else ""
    style.check(run.contender for run in selected.runs)
    with style.settings():
        figure = trajectories.draw(by_column, x, selected.title, style)
    return DrawnFigure(figure, f"{', '.join(by_column)} over {x} of {number} runs{note}")


def draw_depth(
    store: Store,
    query: Query,
    contenders: Collection[str] = (),
    style: FigureStyle = AS_USUAL,
    *,
    over: str,
    columns: Sequence[str],
) -> DrawnFigure:
    """Draw columns of boards over one setting in which protocols differ. Published numbers are hollow markers.

    Raises UsageError for a column that no board has, and StoreError if no contender has finished all its seeds.
    """
    swept = sweep(store, query, over, contenders)
    by_key = {column.key: column for board in swept.boards.values() for column in board.columns}
    keys = _checked("column", columns, by_key)
    by_column = {by_key[key]: depth.series(swept.boards, key, swept.published) for key in keys}
    if not any(by_column.values()):
        raise StoreError("no contender has finished all its seeds: `collapsebench leaderboard` shows what there is")
    style.check(row.contender for board in swept.boards.values() for row in board.rows)
    with style.settings():
        figure = depth.draw(by_column, over, swept.title, swept.note, style)
    places = ", ".join(f"{place:g}" for place in swept.boards)
    return DrawnFigure(figure, f"{', '.join(keys)} over {over} at {places}")


def draw_codes(  # noqa: PLR0913 - the options of `plot codes`
    store: Store,
    query: Query,
    contenders: Collection[str] = (),
    style: FigureStyle = AS_USUAL,
    *,
    seed: int | None,
    examples: int,
    models: Models,
) -> DrawnFigure:
    """Draw t-SNE of the posterior means, coloured by label, with one panel for each contender.

    `examples` is the largest number of test examples. Codes that were not kept are computed by
    `models`. Without a seed, see `kept_codes`. Raises StoreError if there are no codes, and
    DataError if the codes have no labels.
    """
    selected = one_protocol(store, query, contenders)
    number, by_contender = kept_codes(store, selected, seed, models)
    embedded = codes.embeddings(by_contender, examples, number)
    total = len(next(iter(by_contender.values())).mean)
    used = min(examples, total)
    style.check(run.contender for run in selected.runs)
    with style.settings():
        figure = codes.draw(embedded, selected.title, codes.embedding_note(used, total, number), style)
    return DrawnFigure(figure, f"codes of {', '.join(embedded)}, seed {number}, {used} of {total} examples")


def draw_rate_distortion(
    store: Store, query: Query, contenders: Collection[str] = (), style: FigureStyle = AS_USUAL
) -> DrawnFigure:
    """Draw each contender in the plane of rate and distortion. Raises StoreError if no contender has both numbers."""
    selected = one_protocol(store, query, contenders, entries=ENTRIES)
    points = rate_distortion.places(score(selected.runs, likelihood_limits(discovery.load(kinds={"dataset"}))))
    if not points:
        raise StoreError(
            f"no contender of protocol {selected.protocol_id} has KL and reconstruction for all its seeds: "
            "they are of the metrics 'kl' and 'neg-elbo', at the end of a run"
        )
    style.check(run.contender for run in selected.runs)
    with style.settings():
        figure = rate_distortion.draw(points, selected.title, style)
    return DrawnFigure(figure, f"rate and distortion of {_labels(points)}")


def draw_spectrum(
    store: Store, query: Query, contenders: Collection[str] = (), style: FigureStyle = AS_USUAL
) -> DrawnFigure:
    """Draw the variances of the units' posterior means in falling order. Raises StoreError if no run has them."""
    protocol = one_protocol(store, query, contenders).runs[0].protocol
    selected = one_protocol(store, query, contenders, entries=spectrum.entries(protocol))
    spectra = spectrum.spectra(selected.runs)
    if not spectra:
        raise StoreError(
            f"no run of protocol {selected.protocol_id} has finished with variances of its units: they are of the "
            "metric 'active-units'"
        )
    style.check(run.contender for run in selected.runs)
    with style.settings():
        figure = spectrum.draw(spectra, spectrum.threshold(protocol), selected.title, style)
    return DrawnFigure(figure, f"variances of the units of {_labels(spectra)}")


def draw_league_profile(
    store: Store,
    query: Query,
    contenders: Collection[str] = (),
    style: FigureStyle = AS_USUAL,
    *,
    division: Division,
    labels: Iterable[str] = (),
) -> DrawnFigure:
    """Draw the performance profiles of one division of a league.

    `labels` call its models by other names, as in `β-VAE=Beta-VAE`. Raises UsageError for what is no league, for
    `contenders` and for labels that do not fit, and StoreError if no task has a contender that is better than the
    baseline without z.
    """
    ranking, title = _division(store, query, contenders, division)
    style = _with_labels(style, labels, ranking)
    if ranking.league.profile is None:
        raise StoreError(f"no contender is better than '{ranking.league.reference}' on any task: there is no regret")
    with style.settings():
        figure = league_profile.draw(ranking.league, title, style)
    regrets = ranking.league.regrets
    drawn = "; ".join(task.task for task in regrets.losses.tasks)
    rest = f" (no regret on {'; '.join(regrets.left_out)})" if regrets.left_out else ""
    return DrawnFigure(figure, f"profiles of {len(ranking.models)} contenders on {drawn}{rest}")


def draw_league_fronts(
    store: Store,
    query: Query,
    contenders: Collection[str] = (),
    style: FigureStyle = AS_USUAL,
    *,
    division: Division,
    labels: Iterable[str] = (),
) -> DrawnFigure:
    """Draw the Pareto front of each task of one division of a league.

    `labels` call its models by other names, as in `β-VAE=Beta-VAE`. Raises UsageError for what is no league, for
    `contenders` and for labels that do not fit, and StoreError if no contender has a point.
    """
    ranking, title = _division(store, query, contenders, division)
    style = _with_labels(style, labels, ranking)
    scenes = [league_fronts.scene(front, ranking.league) for front in ranking.league.fronts]
    if all(scene.lost == len(ranking.models) for scene in scenes):
        raise StoreError("no contender has a point: it needs a result of each seed, with IW-NLL and mutual information")
    with style.settings():
        figure = league_fronts.draw(ranking.league, title, style)
    shown = "; ".join(f"{scene.task}{f' ({scene.lost} without a point)' if scene.lost else ''}" for scene in scenes)
    return DrawnFigure(figure, f"{len(ranking.models)} contenders, and the fronts of {shown}")


def _division(store: Store, query: Query, contenders: Collection[str], division: Division) -> tuple[Ranking, str]:
    """Read one division of a league, and give its title. No interval is drawn, so nothing is resampled."""
    if not isinstance(query, SuiteQuery):
        raise UsageError("a league is a suite: give --suite")
    if contenders:
        raise UsageError("--contender does not go with a league: each of its contenders counts for the others")
    ranking = one_ranking(store, query, division, Bootstrap(resamples=1))
    return ranking, " · ".join([query.suite, query.scale, *query.variants, str(division)])


def _with_labels(style: FigureStyle, labels: Iterable[str], ranking: Ranking) -> FigureStyle:
    """Return the style with labels of models. Raises UsageError for a label of none, and for two of the same text."""
    called = labels_of(labels, partial(parse_model_label, models=ranking.models))
    found = replace(style, labels={**style.labels, **called})
    found.check(ranking.models)
    return found


def _labels(of_contenders: Iterable[rate_distortion.PlanePoint | spectrum.Spectrum]) -> str:
    return ", ".join(each.label for each in of_contenders)


def _checked(what: str, names: Iterable[str], allowed: Collection[str]) -> list[str]:
    """Return each name once. Raises UsageError for a name that is not allowed."""
    wanted = list(dict.fromkeys(names))
    for name in wanted:
        if name not in allowed:
            raise UsageError(unknown(what, name, allowed))
    return wanted
