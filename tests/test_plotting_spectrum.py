"""The spectrum of the units, as runs hold it."""

from __future__ import annotations

import pytest
import torch
from records import SETTING, record, spec

from collapsebench.estimates import Estimate
from collapsebench.metrics.estimators import mean_variance
from collapsebench.observation import Observation
from collapsebench.record import Outcome, Value
from collapsebench.reporting.plotting.spectrum import draw, entries, spectra, threshold


def observed(label, seed, variances, **more):
    """A run that holds these variances."""
    kept = [Value.of("active-units", f"mean_variance[{r}]", Estimate(v)) for r, v in enumerate(variances)]
    return Observation.of(record(label, seed, values=tuple(kept), **more), [value.column for value in kept])


def test_variances_by_rank_and_their_means_over_seeds():
    runs = [observed("skip", 1, [0.9, 0.4]), observed("vae", 2, [0.8, 0.01]), observed("vae", 1, [0.6, 0.03])]
    vae, skip = spectra([*runs, observed("vae", 3, [9.0, 9.0], outcome=Outcome.DIVERGED), observed("no-latent", 1, [])])
    assert (vae.label, skip.label) == ("vae", "skip")
    assert vae.seeds == {1: [0.6, 0.03], 2: [0.8, 0.01]}
    assert vae.mean == pytest.approx([0.7, 0.02])
    assert skip.mean == [0.9, 0.4]


def test_ranks_go_beyond_nine():
    """Eleven entries in the order of their ranks, not of their names."""
    variances = mean_variance(torch.randn(50, 12)).sort(descending=True).values.tolist()
    assert spectra([observed("vae", 1, variances)])[0].seeds[1] == variances


def test_what_a_protocol_has():
    metrics = {"active-units": {"threshold": 0.02}}
    counting = spec(
        setting={**SETTING, "latent_dim": 3, "evaluation": {"every": "1steps", "metrics": metrics}}
    ).protocol
    assert entries(counting) == ["mean_variance[0]", "mean_variance[1]", "mean_variance[2]"]
    assert threshold(counting) == 0.02
    assert threshold(spec().protocol) is None


def test_the_figure_shows_means_seeds_and_the_threshold():
    drawn = spectra([observed("vae", seed, [0.9, 0.1 * seed]) for seed in (1, 2)])
    figure = draw(drawn, 0.02, "digits")
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    *seeds, mean, line = axes.get_lines()
    assert [each.get_ydata().tolist() for each in seeds] == [[0.9, 0.1], [0.9, 0.2]]
    assert mean.get_xdata().tolist() == [1, 2]
    assert mean.get_ydata().tolist() == drawn[0].mean
    assert list(line.get_ydata()) == [0.02, 0.02]
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == ["vae", "active above 0.02"]
