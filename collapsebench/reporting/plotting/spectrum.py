r"""The spectrum of the units: the variances \(\mathrm{Var}_x\, E_q[z_j|x]\) in falling order.

A count of active units depends on its threshold; the spectrum shows how far the units are from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import count, takewhile
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.observation import Observation
from collapsebench.record import Outcome
from collapsebench.reporting.colours import looks
from collapsebench.reporting.leaderboard.scoring import by_contender, mean
from collapsebench.reporting.plotting.canvas import (
    AS_USUAL,
    LARGEST,
    FigureStyle,
    drawable,
    legend,
    legend_entry,
    line_style,
    mean_over,
    panels,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

    from collapsebench.spec import Protocol


LOWEST = 1e-6
"""The place of variance 0 is below this variance if there is no other number to be below."""
SMALLEST = 1e-30
"""Smaller variances count as 0."""


def entry(rank: int) -> str:
    """Return the entry of the metric `active-units` with the variance of a rank. Ranks count from 0."""
    return f"mean_variance[{rank}]"


def entries(protocol: Protocol) -> list[str]:
    """Return all entries that runs of a protocol can have."""
    return [entry(rank) for rank in range(protocol.setting.latent_dim)]


def threshold(protocol: Protocol) -> float | None:
    """Return the variance above which the protocol counts a unit as active; None if it does not count units."""
    metrics = protocol.setting.evaluation.metrics
    found = next((metric.params.get("threshold") for metric in metrics if metric.name == "active-units"), None)
    return None if found is None else float(found)


class Spectrum(NamedTuple):
    """The variances of one contender."""

    label: str
    seeds: Mapping[int, Sequence[float]]
    """The variances of each seed, in falling order."""

    @property
    def mean(self) -> list[float]:
        """The mean over the seeds, rank by rank."""
        return [mean(values) for values in zip(*self.seeds.values(), strict=False)]


def spectra(observations: Iterable[Observation]) -> list[Spectrum]:
    """Collect the variances of the finished runs of one protocol by contender, the baseline first.

    Runs without variances are left out, such as runs without a latent variable.
    """
    finished = [run for run in observations if run.outcome is Outcome.FINISHED]
    found = []
    for label, runs in by_contender(finished).items():
        of_seed = {run.seed: variances for run in runs if (variances := _variances(run))}
        if of_seed:
            found.append(Spectrum(label, of_seed))
    return found


def _variances(run: Observation) -> list[float]:
    ranks = takewhile(lambda rank: entry(rank) in run.entries, count())
    return [run.entries[entry(rank)].value for rank in ranks]


def draw(of_contenders: Sequence[Spectrum], active: float | None, title: str, style: FigureStyle = AS_USUAL) -> Figure:
    """Draw means on a logarithmic axis, each seed as a thin line, and the threshold above which a unit is active.

    The figure shows seeds instead of an interval: an interval could reach below zero, but a logarithmic axis cannot.
    Units that have collapsed entirely have variance 0. They stand on a line of their own at the bottom.
    """
    from matplotlib.ticker import MaxNLocator

    figure, (panel,) = panels(1, title, style, width=7.0, height=4.0)
    panel.set_yscale("log")
    look = looks(each.label for each in of_contenders)
    number = [len(each.seeds) for each in of_contenders]
    artists: dict[str, Artist] = {}
    bottom = _bottom(of_contenders, active)
    for place, each in enumerate(of_contenders):
        own, means = look[each.label], _on_axis(each.mean, bottom)
        for variances in each.seeds.values():
            shown = _on_axis(variances, bottom)
            panel.plot(range(1, len(shown) + 1), shown, color=own.colour, linewidth=0.6, alpha=0.4)
        ranks = range(1, len(means) + 1)
        (mean,) = panel.plot(ranks, means, **line_style(own, place, len(means)))
        artists[legend_entry(style.called(each.label), len(each.seeds), number)] = mean
    if not any(math.isfinite(value) for each in of_contenders for value in _on_axis(each.mean, bottom)):
        panel.set_ylim(bottom, 100 * bottom)  # a logarithmic axis without a number has no place of its own
    if active is not None:
        artists[f"active above {active:g}"] = panel.axhline(active, color="0.4", linestyle="--", linewidth=1)
    if any(bottom in _on_axis(each.mean, bottom) for each in of_contenders):
        artists["variance 0"] = panel.axhline(bottom, color="0.4", linestyle=":", linewidth=1)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.set_xlabel("unit, by falling variance")
    panel.set_ylabel("variance of the posterior mean")
    legend(figure, artists, f"{mean_over(number)}; thin: each seed", style)
    return figure


def _bottom(of_contenders: Iterable[Spectrum], active: float | None) -> float:
    """Return the place of variance 0 on the logarithmic axis: a power of ten below all other numbers."""
    every = [variance for each in of_contenders for variances in each.seeds.values() for variance in variances]
    shown = [value for value in (*every, active or LOWEST) if SMALLEST < value <= LARGEST]
    return 10.0 ** (math.floor(math.log10(min(shown, default=LOWEST))) - 1)


def _on_axis(variances: Iterable[float], bottom: float) -> list[float]:
    """Return the variances as they can be drawn: 0 at the bottom, and a gap for what is not finite or below 0."""
    return [bottom if 0 <= value <= SMALLEST else value if value > 0 else math.nan for value in drawable(variances)]
