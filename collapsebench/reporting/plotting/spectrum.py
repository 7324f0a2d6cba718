r"""The spectrum of the units: the variances \(\mathrm{Var}_x\, E_q[z_j|x]\) in falling order.

A count of active units depends on its threshold; the spectrum shows how far the units are from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count, takewhile
from typing import TYPE_CHECKING, NamedTuple

from collapsebench.observation import Observation
from collapsebench.record import Outcome
from collapsebench.reporting.leaderboard.scoring import by_contender, mean
from collapsebench.reporting.plotting.canvas import legend, looks, panels

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

    from collapsebench.spec import Protocol


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
        return [mean(values) for values in zip(*self.seeds.values(), strict=True)]


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


def draw(of_contenders: Sequence[Spectrum], active: float | None, title: str) -> Figure:
    """Draw means on a logarithmic axis, each seed as a thin line, and the threshold above which a unit is active.

    The figure shows seeds instead of an interval: an interval could reach below zero, but a logarithmic axis cannot.
    """
    from matplotlib.ticker import MaxNLocator

    figure, (panel,) = panels(1, title, width=7.0, height=4.4)
    panel.set_yscale("log")
    look = looks([each.label for each in of_contenders])
    artists: dict[str, Artist] = {}
    for each in of_contenders:
        own, ranks = look[each.label], range(1, len(each.mean) + 1)
        for variances in each.seeds.values():
            panel.plot(ranks, variances, color=own.color, linewidth=0.8, alpha=0.5)
        (mean,) = panel.plot(ranks, each.mean, color=own.color, marker=own.marker, markersize=4)
        artists[f"{each.label} (n = {len(each.seeds)})"] = mean
    if active is not None:
        artists[f"active above {active:g}"] = panel.axhline(active, color="0.4", linestyle="--", linewidth=1)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.set_xlabel("unit, by falling variance")
    panel.set_ylabel("variance of the posterior mean")
    legend(figure, artists, "mean over seeds; thin: each seed")
    return figure
